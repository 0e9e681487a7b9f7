"""Counts of updates that float32 would round, on their way to torch and back."""

from __future__ import annotations

import numpy as np
import pytest

import fastopt
from fastopt.interop import from_torch_state, to_torch_state

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("count", [1, 2**24, 2**24 + 1, 2**24 + 2, 2**40 + 1])
def test_counts_come_back(count: int) -> None:
    opt = fastopt.Adam({"w": np.ones(2)})
    opt.step({"w": np.ones(2)})
    opt.groups[0].state.step = count
    state = to_torch_state(opt.state_dict())
    step = state["state"][0]["step"]
    assert int(step) == count
    exact = int(np.float32(count)) == count
    assert step.dtype == (torch.float32 if exact else torch.float64)  # float32 is torch's own
    theirs = torch.optim.Adam([torch.ones(2, dtype=torch.float64, requires_grad=True)])
    theirs.load_state_dict(state)
    loaded = theirs.state_dict()
    assert int(loaded["state"][0]["step"]) == count
    assert from_torch_state(loaded, ["w"])["groups"][0]["step"] == count
    theirs.param_groups[0]["params"][0].grad = torch.ones(2, dtype=torch.float64)
    theirs.step()
    if not exact:
        assert int(theirs.state_dict()["state"][0]["step"]) == count + 1
