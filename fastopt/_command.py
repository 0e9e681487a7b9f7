"""What the commands of ``python -m fastopt`` share: their errors, their options, their files."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class CommandError(Exception):
    """The command cannot run; the message says in one line what the user can put right."""


class WrongAnswerError(Exception):
    """The kernels do not compute what the reference computes."""


def import_extra(module: str, extra: str) -> Any:
    """Import a module that belongs to an extra, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CommandError(
            f"cannot import {error.name or module}; install it with: pip install 'fastopt[{extra}]'"
        ) from error


def checked(
    convert: Callable[[str], T], accepts: Callable[[T], bool], wanted: str
) -> Callable[[str], T]:
    """Return a type for argparse: what `convert` makes of the text, where `accepts` takes it."""

    def parse(text: str) -> T:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not accepts(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return parse


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report in one line that `path` cannot be written."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Raise CommandError if `path` cannot be written: before the work, which would be lost."""
    with writing(path):
        existed = path.exists()
        path.open("ab").close()  # only trying tells: permission bits do not bind root
        if not existed:
            path.unlink()


def check_plot(path: Path, extra: str) -> None:
    """Raise CommandError if matplotlib is missing or `path` cannot be written as PNG."""
    if path.suffix.lower() != ".png":
        raise CommandError(f"cannot write {path}: the name must end in .png")
    new_figure(extra, (1, 1))
    check_writable(path)


def new_figure(extra: str, inches: tuple[float, float]) -> Any:
    """Return a Figure of matplotlib; without pyplot it needs no display and leaves no state."""
    return import_extra("matplotlib.figure", extra).Figure(figsize=inches, layout="constrained")


def save_figure(figure: Any, path: Path) -> None:
    with writing(path):
        figure.savefig(path, format="png", dpi=150)
