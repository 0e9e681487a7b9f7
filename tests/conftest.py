from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from cases import ISAS

from fastopt import _core


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
