"""How many threads a step uses, and how threadpoolctl learns of it."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from fastopt import _core
from fastopt._info import __version__


def set_num_threads(n: int) -> None:
    """Set the number of threads that steps use unless they are called with ``threads=``.

    The default is taken from the environment variables ``FASTOPT_NUM_THREADS``, else
    ``OMP_NUM_THREADS``, else it is the number of processors that this process may use. If the
    first is set to anything but an int in this range, the import of fastopt raises ImportError.
    Results have the same bits for any number of threads.

    Parameters
    ----------
    n : int, >= 1
        The number of threads, the calling one among them.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an int, or smaller than 1 or larger than 1024.

    Examples
    --------
    >>> import fastopt
    >>> before = fastopt.get_num_threads()
    >>> fastopt.set_num_threads(1)
    >>> fastopt.get_num_threads()
    1
    >>> fastopt.set_num_threads(before)
    """
    _core.set_num_threads(n)


def get_num_threads() -> int:
    """Return the number of threads that steps use unless they are called with ``threads=``.

    Examples
    --------
    >>> import fastopt
    >>> fastopt.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


def default_num_threads() -> int:
    """Read the environment; without a word there, count the processors.

    What is wrong with the variable that is ours is an error. The other is OpenMP's, and may mean
    something to others.
    """
    ours = os.environ.get("FASTOPT_NUM_THREADS", "").strip()
    if ours and not _count(ours):
        raise ImportError(
            f"FASTOPT_NUM_THREADS: it must be an int from 1 to {_core.max_threads}, not {ours!r}"
        )
    # OpenMP allows a list, one number for each level of nesting; the first is ours.
    others = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return _count(ours) or _count(others) or usable_cpus()


def _count(text: str) -> int:
    """Return a number of threads, or 0 if it is none."""
    count = int(text) if text.isdecimal() and len(text) < 9 else 0
    return count if count <= _core.max_threads else 0


def usable_cpus() -> int:
    """Count the processors that this process may really use."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no such call
        cpus = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, cpus if quota is None else min(cpus, int(quota + 0.5)))


def _cgroup_quota(
    proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """Return the processor time that Linux control groups grant, in processors, or None."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":  # version 2: every group up to the root may have a limit
            group = root / path.lstrip("/")
            quotas += [_read_quota(g / "cpu.max") for g in (group, *group.parents)]
        elif "cpu" in controllers.split(","):  # version 1
            quotas.append(_read_quota(root / "cpu" / "cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return min((quota for quota in quotas if quota is not None), default=None)


def _read_quota(quota_file: Path, period_name: str | None = None) -> float | None:
    try:
        words = quota_file.read_text().split()
        if period_name:
            words += (quota_file.parent / period_name).read_text().split()
        quota, period = int(words[0]), int(words[1])
    except (OSError, ValueError, IndexError):  # no such file, or "max"
        return None
    return quota / period if quota > 0 and period > 0 else None


def register_with_threadpoolctl() -> None:
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
