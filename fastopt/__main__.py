"""The command line: ``python -m fastopt COMMAND``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import fastopt
from fastopt._command import CommandError, WrongAnswerError

# A command is its line of help and a module, whose `configure` gives the parser the options and
# whose `main` takes the parsed ones. Only that of the chosen command is imported, so that no
# command needs what another one imports.
COMMANDS = {
    "bench": "Measure the steps against memory, plain NumPy and other libraries.",
    "demo": "Train a network on handwritten digits: the kernels against plain NumPy.",
    "info": "Print what fastopt is made of and runs on.",
}
MODULES = {"bench": "bench.command", "demo": "demo.command", "info": "_info"}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage, and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (by default those of the process) name.

    Returns
    -------
    int
        The exit status: 0, or 1 if the kernels gave wrong answers, or 130 after an interrupt. A
        command that cannot do what it is told raises SystemExit with 2.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _Parser(prog="python -m fastopt", description="Optimizer updates on NumPy arrays.")
    parser.add_argument("--version", action="version", version=f"fastopt {fastopt.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in arguments[:1]:
            chosen = import_module(f"fastopt.{MODULES[name]}")
            chosen.configure(command)
            command.set_defaults(main=chosen.main, parser=command)
    options = parser.parse_args(arguments)
    try:
        options.main(options)
    except CommandError as error:
        options.parser.error(str(error))
    except WrongAnswerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # as shells report a program that was interrupted
    return 0


if __name__ == "__main__":
    sys.exit(main())
