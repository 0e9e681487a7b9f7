"""Lets threadpoolctl see and limit the threads of fastopt, where threadpoolctl is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fastopt import _core
from fastopt._version import __version__


def register() -> None:
    """Make ``threadpoolctl.threadpool_limits`` and ``threadpool_info`` know fastopt."""
    try:
        threadpoolctl = import_module("threadpoolctl")
    except ImportError:
        return
    if not hasattr(threadpoolctl, "register"):  # older than 3.2
        return

    base: Any = threadpoolctl.LibController

    class FastoptController(base):  # type: ignore[misc]
        user_api = "fastopt"
        internal_api = "fastopt"
        filename_prefixes = ("_core",)
        check_symbols = ("fastopt_is_loaded",)

        def get_num_threads(self) -> int:
            return _core.get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            _core.set_num_threads(num_threads)

        def get_version(self) -> str:
            return __version__

        def set_additional_attributes(self) -> None:
            self.isa = _core.isa()

    threadpoolctl.register(FastoptController)
