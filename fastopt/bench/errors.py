"""What can go wrong that the user can put right, and what must not go wrong."""

from __future__ import annotations

import importlib
from types import ModuleType


class BenchError(Exception):
    """The benchmark cannot run; the message says why in one line."""


class WrongAnswerError(Exception):
    """The kernels do not compute what the reference computes."""


def import_extra(module: str) -> ModuleType:
    """Import a module of the ``bench`` extra, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BenchError(
            f"cannot import {error.name or module}; install it with: pip install 'fastopt[bench]'"
        ) from error
