"""The machine that a benchmark runs on: its name, its software, its free memory."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import fastopt
from fastopt.threads import usable_cpus

PACKAGES = ("numpy", "torch", "thinc", "numba", "optax", "jax")


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to make sense of the figures."""
    return {
        "processor": _processor(),
        "cpus": usable_cpus(),
        "system": platform.platform(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "fastopt": {key: value for key, value in fastopt.info().items() if key != "numpy"},
        "packages": {name: version for name in PACKAGES if (version := installed(name))},
    }


def installed(package: str) -> str | None:
    """Return the version of `package`, or None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def available_bytes() -> int | None:
    """Return how much memory can be had without swapping, or None where nothing tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    granted = _cgroup_bytes(Path("/sys/fs/cgroup"))
    return kib * 1024 if granted is None else min(kib * 1024, granted)


def _cgroup_bytes(group: Path) -> int | None:
    """Return what the control group of a container leaves, or None where it has no limit."""
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return limit - used


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()
