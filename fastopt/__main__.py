"""The command line: ``python -m fastopt COMMAND``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import fastopt
from fastopt._command import CommandError, WrongAnswerError


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage, and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _bench(parser: argparse.ArgumentParser) -> None:
    from fastopt.bench import command  # noqa: PLC0415

    command.configure(parser)


def _demo(parser: argparse.ArgumentParser) -> None:
    from fastopt.demo import command  # noqa: PLC0415

    command.configure(parser)


def _info(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=print_info)


# A command is its line of help and a function that gives its parser the options and, as `run`, the
# function that takes the parsed options. It is called for the command that was chosen alone, so
# that no command needs what another one imports.
COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "bench": ("Measure the steps against memory, plain NumPy and other libraries.", _bench),
    "demo": ("Train a network on handwritten digits: the kernels against plain NumPy.", _demo),
    "info": ("Print what fastopt is made of and runs on.", _info),
}


def print_info(options: argparse.Namespace) -> None:
    """Print :func:`fastopt.info`, one ``key: value`` a line."""
    for key, value in fastopt.info().items():
        print(f"{key}: {', '.join(value) if isinstance(value, list) else value}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (by default those of the process) name.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command and its options.

    Returns
    -------
    int
        The exit status: 0, or 1 if the kernels gave wrong answers, or 130 after an interrupt.

    Raises
    ------
    SystemExit
        With status 2 if the command cannot do what the arguments say, with 0 after ``--help`` and
        ``--version``.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _Parser(prog="python -m fastopt", description="Optimizer updates on NumPy arrays.")
    parser.add_argument("--version", action="version", version=f"fastopt {fastopt.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (summary, configure) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in arguments[:1]:
            configure(command)
            command.set_defaults(parser=command)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
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
