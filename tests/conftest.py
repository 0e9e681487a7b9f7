from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import ISAS
from digits_files import write_files
from kinds import is_of_others

from fastopt import _core
from fastopt.demo.data import Dataset, load_folder

os.environ.setdefault("KERAS_BACKEND", "torch")  # else Keras looks for TensorFlow


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rules",
        choices=["few", "others", "all"],
        default="few",
        help="of tests that go through all rules, run those of one rule of each kind (few, the "
        "default), those of the others alone (others, and nothing else), or all",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With FASTOPT_ISA, leave out what goes through all tables by itself: it has run before."""
    out = []
    if os.environ.get("FASTOPT_ISA"):
        out += [item for item in items if "isa" in getattr(item, "fixturenames", ())]
    rules = config.getoption("--rules")
    if rules != "all":
        out += [item for item in items if is_of_others(item) != (rules == "others")]
    if out:
        config.hook.pytest_deselected(items=out)
        left_out = set(out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20150507)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once for every instruction set of this machine."""
    before = _core.isa()
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like that of MNIST, with 70 training images and 20 test images."""
    write_files(tmp_path)
    return tmp_path


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    """The images of `folder`."""
    return load_folder(folder)


@pytest.fixture
def exact_numbers() -> Iterator[None]:
    """Let torch keep numbers of states, such as NAdam's product of momenta, in float64."""
    torch: Any = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def one_thread_of_torch() -> Iterator[None]:
    torch: Any = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
