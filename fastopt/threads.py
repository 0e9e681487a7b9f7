"""How many threads a step uses."""

from __future__ import annotations

import os
from pathlib import Path

from fastopt import _core


def set_num_threads(n: int) -> None:
    """Set the number of threads that steps use unless they are called with ``threads=``.

    The default is taken from the environment variables ``FASTOPT_NUM_THREADS``, else
    ``OMP_NUM_THREADS``, else it is the number of processors that this process may use. Results
    have the same bits for any number of threads.

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
    """Read the environment; without a word there, count the processors."""
    for variable in ("FASTOPT_NUM_THREADS", "OMP_NUM_THREADS"):
        # OpenMP allows a list, one number for each level of nesting; the first is ours.
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text.isdecimal() and len(text) < 9 and 0 < int(text) <= _core.max_threads:
            return int(text)
    return usable_cpus()


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
