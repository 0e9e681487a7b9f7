"""The engine is a library of its own: it builds and works where there is no Python at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
FOLDERS = ("csrc/rules", "csrc/kernels", "csrc/engine", "csrc/capi", "tests/native")
# Loops are vectorised in the stage `platforms`, and in the core that other tests use; here, with
# little optimization, what is compiled in half of the time. It is C++17 and nothing else, as
# compilers on Windows want it.
FLAGS = [
    *("-Wall", "-Wextra", "-Wpedantic", "-Werror"),
    *("-std=c++17", "-O1", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"),
    '-DFASTOPT_MORE_RULES="../../tests/native/more_rules.hpp"',
]

compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


@pytest.mark.long
@pytest.mark.skipif(not (TOP / "csrc").is_dir(), reason="the tests are not in the repository")
@pytest.mark.skipif(not compiler, reason="needs a compiler")
def test_the_engine_works_without_python(tmp_path: Path) -> None:
    """No path to headers is given, and none but those of the compiler is known."""
    assert compiler

    def compile_one(source: Path) -> str:
        built = str(tmp_path / ("_".join(source.relative_to(TOP).parts) + ".o"))
        subprocess.run([compiler, *FLAGS, "-c", source, "-o", built], check=True)
        return built

    sources = [source for folder in FOLDERS for source in (TOP / folder).rglob("*.cpp")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    program = str(tmp_path / "checksum")
    subprocess.run([compiler, "-pthread", *objects, "-o", program], check=True)
    ran = subprocess.run([program, "baseline"], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) > 100
