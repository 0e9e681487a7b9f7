from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cases import ISAS
from digits_files import write_files

from fastopt import _core
from fastopt.demo.data import Dataset, load_folder


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
