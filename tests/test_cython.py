"""Modules in Cython: declarations and memoryviews, and the example that trains word vectors."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import COLUMNS, FLAT_CASES, NUMBERS, Case, assert_same_bits, random_like, state_arrays

import fastopt

pytest.importorskip("Cython")
pytest.importorskip("setuptools")

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "cython_model"
BUILD = """
from setuptools import Extension, setup
from Cython.Build import cythonize
import fastopt
views = Extension("views", ["views.pyx"], include_dirs=[fastopt.get_include()])
setup(ext_modules=cythonize(views))
"""


def build(folder: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    quickly = os.environ | {"CFLAGS": "-O0 -g0"}
    ran = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, env=quickly
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def import_from(folder: Path, name: str) -> Any:
    sys.path.insert(0, str(folder))
    try:
        return __import__(name, fromlist=["*"])
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def views(tmp_path_factory: Any) -> Any:
    folder = tmp_path_factory.mktemp("views")
    shutil.copy(HERE / "extension" / "views.pyx", folder)
    (folder / "setup.py").write_text(BUILD)
    build(folder)
    return import_from(folder, "views")


def rows_of(state: Any, p: Any) -> Any:
    """Return the arrays of a state as the rows of one."""
    arrays = state_arrays(state, but=NUMBERS | COLUMNS)
    return np.array(arrays, p.dtype).reshape(len(arrays), p.size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", FLAT_CASES, ids=str)
def test_memoryviews(views: Any, case: Case, dtype: Any) -> None:
    if case.init == {"centered": False, "momentum": True}:
        return None  # rows cannot leave out an array in front of others
    rng = np.random.default_rng(2)
    names = list(fastopt._core.rules[case.rule].options)
    defaults = dict(zip(names, options(case.rule), strict=True))
    given = np.array([float(case.options.get(name, defaults[name])) for name in names])
    rule = views.find_rule(case.rule.encode())
    for size in (0, 1, 100, 300):
        p = random_like(np.zeros(size, dtype), rng)
        state = case.new_state(p)
        q, rows = p.copy(), rows_of(state, p)
        if fastopt._core.rules[case.rule].numbers:  # numbers, which have no place in rows
            assert views.update(rule, q, p, rows, 0, given) == -1
            continue
        for step in range(3):
            g = random_like(p, rng)
            case.step(p, g, state)
            g.flags.writeable = False
            assert views.update(rule, q, g, rows, step, given) == 0
            assert_same_bits(q, p)
            assert_same_bits(rows, rows_of(state, p))
    return None


def options(rule: str) -> list[float]:
    from c_functions import options_of  # noqa: PLC0415

    found: list[float] = options_of(Case(rule)).tolist()
    return found


def test_lengths_that_do_not_agree(views: Any) -> None:
    adam, rmsprop, given = views.find_rule(b"adam"), views.find_rule(b"rmsprop"), np.ones(7)
    p, rows = np.ones(5), np.ones((2, 5))
    for call in (
        (adam, p, np.ones(4), rows, 0, given),
        (adam, p, p * 2, np.ones((2, 4)), 0, given),
        (adam, p, p * 2, np.ones((1, 5)), 0, given),
        (adam, p, p * 2, np.ones((3, 5)), 0, given),
        (adam, p, p * 2, rows, 0, np.ones(6)),
        (adam, p, p * 2, rows, 0, np.ones(8)),
        (adam, p, p * 2, rows, 0, np.ones(0)),
        (rmsprop, p, p * 2, np.ones((0, 5)), 0, np.ones(6)),
        (99, p, p * 2, rows, 0, given),
        (-1, p, p * 2, rows, 0, given),
    ):
        assert views.update(*call) == views.REFUSED
        assert (p == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_optimizer(views: Any, dtype: Any) -> None:
    p, g = np.ones(9, dtype), np.full(9, 2, dtype)
    q = p.copy()
    assert views.clipped_norm(q, g, 1.5) == fastopt.sgd_step(p, g, clip_norm=1.5).grad_norm
    assert_same_bits(q, p)
    with pytest.raises(ValueError, match=r"^sgd_step: clip_norm must be finite and > 0, it is -1"):
        views.clipped_norm(q, g, -1.0)


@pytest.fixture(scope="module")
def example(tmp_path_factory: Any) -> Any:
    if not EXAMPLE.is_dir():
        pytest.skip("the tests are not in the repository")
    pytest.importorskip("tqdm")
    folder = tmp_path_factory.mktemp("example") / "cython_model"
    shutil.copytree(EXAMPLE, folder)
    build(folder)
    return import_from(folder, "word_vectors.__main__")


@pytest.mark.long
def test_word_vectors(example: Any, capsys: Any) -> None:
    text, rng = example.read(), np.random.default_rng(0)
    model = example.Model.start(len(text.words), rng, length=37)
    before = copy.deepcopy(model)
    rows = example.samples(text, rng)
    assert min(example.compare(model, rows[:200])) > 0  # which raises where bits differ
    assert_same_bits(model.words.vectors, before.words.vectors)
    losses = [example.in_cython.train(model, rows, example.LR) for _ in range(3)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 2.6
    assert model.words.counts.sum() == 3 * len(rows)
    for wrong in (rows[:0], rows + len(text.words), rows - 1000):
        with pytest.raises(ValueError, match="samples"):
            example.in_cython.train(model, wrong, example.LR)
    with pytest.raises(ValueError, match=r"^adam_step: lr must be finite and >= 0, it is -1\.0$"):
        example.in_cython.train(model, rows, -1.0)
    example.main(["--epochs", "4"])
    out = capsys.readouterr().out
    near = dict(line.split(": ") for line in out.splitlines()[2:])
    assert "int" in near["float"] or "complex" in near["float"]
