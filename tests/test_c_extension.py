"""Extension modules in C: one that was written for the first version of the header, and today's."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import fastopt

HERE = Path(__file__).parent / "extension"
TODAY = Path(fastopt.get_include(), "fastopt.h")
compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")

pytestmark = [
    pytest.mark.skipif(not compiler, reason="needs a compiler"),
    pytest.mark.skipif(
        not Path(sysconfig.get_path("include"), "Python.h").is_file(), reason="needs Python.h"
    ),
]


def load(header: Path, folder: Path) -> Any:
    """Compile the module with a header, with all warnings as errors, and import it."""
    assert compiler
    built = folder / f"trainer{sysconfig.get_config_var('EXT_SUFFIX')}"
    warnings = ("-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers")
    include = sysconfig.get_path("include")
    subprocess.run(
        [
            *(compiler, "-std=c11", "-O1", *warnings, "-shared", "-fPIC"),
            *(f"-I{include}", f'-DHEADER="{header}"', HERE / "trainer.c", "-o", built),
        ],
        check=True,
    )
    spec = importlib.util.spec_from_file_location("trainer", built)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["fastopt_1_0.h", "today"])
def trainer(request: Any, tmp_path_factory: Any) -> Any:
    header = TODAY if request.param == "today" else HERE / request.param
    return load(header, tmp_path_factory.mktemp("extension"))


def test_adam(trainer: Any) -> None:
    rng = np.random.default_rng(0)
    p, g, m, v = rng.normal(size=333), rng.normal(size=333), np.zeros(333), np.zeros(333)
    q, state = p.copy(), fastopt.adam_init(p)
    trainer.adam(p, m, v, g, 10)
    for _ in range(10):
        fastopt.adam_step(q, g, state)
    assert (p == q).all()
    assert (m == state.m).all()
    assert (v == state.v).all()
    with pytest.raises(ValueError, match=r"^adam_step: params and grads overlap in memory$"):
        trainer.adam(p, m, v, p, 1)
    assert (p == q).all()


def test_clipped(trainer: Any) -> None:
    rng = np.random.default_rng(1)
    p, g, buf = rng.normal(size=300_000), rng.normal(size=300_000), np.zeros(300_000)
    q, state = p.copy(), fastopt.momentum_init(p)
    norm = trainer.clipped(p, buf, g, 1.5, 5)
    for _ in range(5):
        fastopt.momentum_step(q, g, state, clip_norm=1.5)
    assert (p == q).all()
    assert norm == fastopt.global_norm(g)
    with pytest.raises(ValueError, match=r"^momentum_step: clip_norm must be finite and > 0, it "):
        trainer.clipped(p, buf, g, -1.5, 5)


def test_many_threads(trainer: Any) -> None:
    """Each has arrays of its own; what the library keeps for a thread is not that of another."""

    def train(seed: int) -> None:
        rng = np.random.default_rng(seed)
        p, g, m, v = rng.normal(size=99), rng.normal(size=99), np.zeros(99), np.zeros(99)
        q, state = p.copy(), fastopt.adam_init(p)
        trainer.adam(p, m, v, g, 2000)
        for _ in range(2000):
            fastopt.adam_step(q, g, state)
        same.append((p == q).all())

    same: list[Any] = []
    threads = [Thread(target=train, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 4


@pytest.mark.parametrize(("name", "number"), [("ABI", 2), ("ABI_MINOR", 99)])
def test_a_module_that_is_newer_than_the_library(name: str, number: int, tmp_path: Path) -> None:
    later = tmp_path / "later.h"
    text, count = re.subn(rf"(# *define FASTOPT_{name}) +\d+", rf"\1 {number}", TODAY.read_text())
    assert count == 1
    later.write_text(text)
    with pytest.raises(ImportError, match=r"fastopt has version 1\.\d+ of its C functions, and th"):
        load(later, tmp_path)


def test_the_first_version_is_the_beginning_of_today() -> None:
    """Functions are added at the end: no number and no signature in front of them changes."""

    def table(header: Path) -> str:
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
        struct = text[text.index("typedef struct fastopt_functions") : text.index("} fastopt_fu")]
        return " ".join(struct.split())

    def constants(header: Path) -> list[str]:
        return re.findall(r"FASTOPT_\w+ = -?\d+", header.read_text())

    first = HERE / "fastopt_1_0.h"
    assert table(TODAY).startswith(table(first))
    assert constants(TODAY) == constants(first)
