from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import fastopt


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch and fastopt use one thread each."""
    torch: Any = pytest.importorskip("torch")
    before = torch.get_num_threads(), fastopt.get_num_threads()
    torch.set_num_threads(1)
    fastopt.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    fastopt.set_num_threads(before[1])
