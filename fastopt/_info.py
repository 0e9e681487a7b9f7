"""What the library is made of and runs on, for bug reports and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastopt import _core

__version__ = "0.2.0"


def info() -> dict[str, Any]:
    """Return what is needed to reproduce a result.

    Returns
    -------
    dict
        ``version`` of fastopt; ``isa``, the instruction set in use, and ``available_isas``, those
        that this machine could use, best first (the environment variable ``FASTOPT_ISA`` forces
        one); ``threads``, the number a step uses; ``compiler`` of the C++ core; ``numpy``, its
        version.

    Examples
    --------
    >>> import fastopt
    >>> sorted(fastopt.info())
    ['available_isas', 'compiler', 'isa', 'numpy', 'threads', 'version']
    """
    return {
        "version": __version__,
        "isa": _core.isa(),
        "available_isas": _core.available_isas(),
        "threads": _core.get_num_threads(),
        "compiler": _core.compiler(),
        "numpy": np.__version__,
    }


def get_include() -> str:
    """Return the folder of ``fastopt.h``, for compilers of C, C++ and Cython.

    Examples
    --------
    >>> import fastopt, os
    >>> os.listdir(fastopt.get_include())
    ['fastopt.h']
    """
    return str(Path(__file__).with_name("include"))


def configure(parser: Any) -> None:
    """``python -m fastopt info`` has no options."""


def main(options: Any) -> None:
    """Print :func:`info`, one ``key: value`` a line."""
    for key, value in info().items():
        print(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
