"""How many threads there are: set, by the environment, or so many as the process may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import run

import fastopt
from fastopt import threads as fastopt_threads

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_set_num_threads() -> None:
    before = fastopt.get_num_threads()
    try:
        for n in (1, 5, np.int64(2)):
            fastopt.set_num_threads(n)
            assert fastopt.get_num_threads() == n
            assert fastopt.info()["threads"] == n
        for bad, error in [(0, ValueError), (-1, ValueError), (10**10, ValueError)] + [
            (kind, TypeError) for kind in (1.5, "2", None, True)
        ]:
            with pytest.raises(error, match=r"^set_num_threads: .*\bn\b"):
                fastopt.set_num_threads(bad)
        assert fastopt.get_num_threads() == 2
    finally:
        fastopt.set_num_threads(before)


@linux_only
def test_thousands_of_changes_leak_no_threads() -> None:
    out = run(
        """
        fastopt.set_num_threads(1)
        before = count_threads()
        for i in range(2000):
            fastopt.set_num_threads(1 + i % 5)
            if i % 7 == 0:
                big_step(threads=None)
        fastopt.set_num_threads(1)
        print(count_threads() - before)
        """
    )
    assert int(out) == 0


@linux_only
def test_workers_are_few() -> None:
    out = run(
        """
        before = count_threads()
        for i in range(50):
            big_step(threads=3)
        print(count_threads() - before)
        """
    )
    assert int(out) == 2


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FASTOPT_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1,4"}, 1),
        ({"FASTOPT_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}, 1),
        ({"FASTOPT_NUM_THREADS": "3"}, 3),
        ({"FASTOPT_NUM_THREADS": "", "OMP_NUM_THREADS": "3"}, 3),
        ({"FASTOPT_NUM_THREADS": " 3 "}, 3),
        ({"OMP_NUM_THREADS": "nonsense"}, None),
        ({"OMP_NUM_THREADS": "0"}, None),
        ({}, None),
    ],
)
def test_environment(environment: dict[str, str], expected: int | None) -> None:
    clean = {"FASTOPT_NUM_THREADS": "", "OMP_NUM_THREADS": ""}
    out = run("print(fastopt.get_num_threads())", **(clean | environment))
    assert int(out) == (expected or fastopt_threads.usable_cpus())


@pytest.mark.parametrize("wrong", ["abc", "0", "-1", "2.5", "1025", "2,4", "\u00b2", "9" * 30])
def test_an_environment_that_is_wrong(wrong: str) -> None:
    """As with a wrong instruction set, nobody goes on with what was not asked for."""
    result = subprocess.run(
        [sys.executable, "-c", "import fastopt"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"FASTOPT_NUM_THREADS": wrong, "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
    )
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    message = f"FASTOPT_NUM_THREADS: it must be an int from 1 to 1024, not {wrong!r}"
    assert last == f"ImportError: {message}"


@linux_only
def test_affinity_is_respected() -> None:
    out = run(
        """
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from fastopt.threads import usable_cpus
        print(usable_cpus())
        """
    )
    assert int(out) == 1


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a\n", {"a/cpu.max": "300000 100000", "cpu.max": "100000 100000"}, 1.0),
        ("0::/\n", {}, None),
        ("0::/../x\n", {}, None),
        ("no sense\n", {}, None),
        (
            "5:cpu,cpuacct:/a\n4:memory:/a\n",
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        (
            "5:cpu,cpuacct:/a\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
    ],
)
def test_control_groups(
    cgroup: str, files: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    (tmp_path / "self").write_text(cgroup)
    root = tmp_path / "root"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert fastopt_threads._cgroup_quota(tmp_path / "self", root) == expected
