"""The machine that a benchmark runs on: its name, its software, its free memory."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import fastopt
from fastopt._command import import_extra
from fastopt.threads import usable_cpus

PACKAGES = ("numpy", "torch", "thinc", "numba", "optax", "jax")


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to make sense of the figures."""
    load = os.getloadavg()[0]  # before anything else here is at work
    processor = import_extra("cpuinfo", "bench").get_cpu_info()
    return {
        "processor": processor.get("brand_raw", platform.machine()),
        "cpus": usable_cpus(),
        "system": platform.platform(),
        "load": load,
        "python": platform.python_version(),
        "fastopt": {key: value for key, value in fastopt.info().items() if key != "numpy"},
        "packages": {name: version for name in PACKAGES if (version := installed(name))},
    }


def format_machine(machine: dict[str, Any]) -> str:
    """Return a few lines that name what the figures were measured on."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    busy = "\nThe machine is busy (load {load:.1f}): trust ratios, not times."
    return (
        "{processor}, {cpus} processors; {system}\n"
        "fastopt {fastopt[version]}, {fastopt[isa]}, {fastopt[compiler]}; Python {python}; "
        f"{packages}{busy if machine['load'] > 0.25 else ''}"
    ).format(**machine)


def installed(package: str) -> str | None:
    """Return the version of `package`, or None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def available_bytes() -> int:
    """Return how much memory can be had without swapping, in a container what it is granted."""
    available: int = import_extra("psutil", "bench").virtual_memory().available
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no such file, or "max"
        return available
    return min(available, limit - used)
