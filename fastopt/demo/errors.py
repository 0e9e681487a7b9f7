"""What can go wrong that the user can put right."""

from __future__ import annotations

import importlib
from types import ModuleType


class DemoError(Exception):
    """The demo cannot run; the message says why in one line."""


def import_extra(module: str) -> ModuleType:
    """Import a module of the ``demo`` extra, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DemoError(
            f"cannot import {error.name or module}; install it with: pip install 'fastopt[demo]'"
        ) from error
