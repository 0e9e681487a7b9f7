"""What the commands of ``python -m fastopt`` share: errors that the user can put right."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


class CommandError(Exception):
    """The command cannot run; the message says why in one line."""


def import_extra(module: str, extra: str) -> ModuleType:
    """Import a module that belongs to an extra, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CommandError(
            f"cannot import {error.name or module}; install it with: pip install 'fastopt[{extra}]'"
        ) from error


def check_writable(path: Path) -> None:
    """Raise CommandError if `path` cannot be written.

    Asked before the work, whose results would be lost otherwise.
    """
    try:
        existed = path.exists()
        path.open("ab").close()  # only trying tells: permission bits do not bind root
        if not existed:
            path.unlink()
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def check_plot(path: Path, extra: str) -> None:
    """Raise CommandError if matplotlib is missing or `path` cannot be written as PNG."""
    if path.suffix.lower() != ".png":
        raise CommandError(f"cannot write {path}: the name must end in .png")
    import_extra("matplotlib.figure", extra)
    check_writable(path)
