"""Loss scaling: the factor grows and shrinks as torch's does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastopt


def test_loss_scaling() -> None:
    w = np.zeros(2)
    opt = fastopt.SGD(w, lr=1.0, skip_nonfinite=True)
    scaler = fastopt.LossScaler(scale=8.0, interval=2, growth=4.0, backoff=0.25)
    scales = []
    for overflow in (False, False, True, False, False, True, True):
        g = np.full(2, np.inf if overflow else scaler.scale)
        scaler.update(opt.step(g, grad_scale=scaler.grad_scale))
        scales.append(scaler.scale)
    assert scales == [8, 32, 8, 8, 32, 8, 2]
    assert w.tolist() == [-4, -4]
    assert opt.step_count == 4
    other = fastopt.LossScaler()
    other.load_state_dict(scaler.state_dict())
    assert other == scaler


def test_loss_scaling_against_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    theirs = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
    ours = fastopt.LossScaler(scale=64.0, interval=3)
    w = torch.zeros(1, requires_grad=True)
    sgd = torch.optim.SGD([w], lr=0.1)
    opt = fastopt.SGD(np.zeros(1, np.float32), skip_nonfinite=True)
    for _ in range(60):
        g = np.inf if rng.random() < 0.2 else 1.0
        w.grad = torch.tensor([g])
        theirs.scale(torch.ones(1))
        theirs.step(sgd)
        theirs.update()
        ours.update(opt.step(np.float32([g]), grad_scale=ours.grad_scale))
        assert ours.scale == theirs.get_scale()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"scale": 0.0}, ValueError, r"scale must be finite and >= 2\*\*-1000, it is 0.0"),
        ({"scale": 5e-324}, ValueError, r"scale must be finite and >= 2\*\*-1000, it is 5e-324"),
        ({"scale": "1"}, TypeError, "scale must be a number, not str"),
        ({"growth": 1.0}, ValueError, "growth must be finite and > 1, it is 1.0"),
        ({"backoff": 1.0}, ValueError, "0 < backoff < 1 must hold, it is 1.0"),
        ({"interval": 0}, ValueError, "interval >= 1 must hold, it is 0"),
        ({"interval": 1.5}, TypeError, "interval must be an int, not float"),
    ],
)
def test_a_scaler_out_of_range(given: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^LossScaler: {message}$"):
        fastopt.LossScaler(**given)
    scaler = fastopt.LossScaler()
    with pytest.raises(error, match=rf"^LossScaler: {message}$"):
        scaler.load_state_dict({**scaler.state_dict(), **given})
    assert scaler == fastopt.LossScaler()


def test_an_interval_that_was_passed() -> None:
    """As when it is made shorter."""
    scaler = fastopt.LossScaler(scale=4.0, interval=2, good_steps=7)
    scaler.update(fastopt.StepResult(skipped=False, grad_norm=1.0, nonfinite=None))
    assert (scaler.scale, scaler.good_steps) == (8.0, 0)


def test_a_scaler_wants_to_know() -> None:
    scaler = fastopt.LossScaler()
    with pytest.raises(TypeError, match="result must be a StepResult, which steps return with"):
        scaler.update(None)
    bad = fastopt.SGD(np.ones(1), clip_norm=1.0).step(np.array([np.nan]))
    with pytest.raises(ValueError, match="was not finite and the step not skipped"):
        scaler.update(bad)
    assert scaler == fastopt.LossScaler()
