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
        (
            {"min_scale": 0.0},
            ValueError,
            r"2\*\*-1000 <= min_scale <= 2\*\*126 must hold, it is 0.0",
        ),
        ({"min_scale": 1e39}, ValueError, r"2\*\*-1000 <= min_scale <= .* must hold, it is 1e\+39"),
        ({"min_scale": 2.0**20}, ValueError, "scale must not be below min_scale=.*, it is 65536"),
        ({"max_skips": 0}, ValueError, "max_skips >= 1 must hold, it is 0"),
        ({"max_skips": 1.5}, TypeError, "max_skips must be an int, not float"),
        ({"max_skips": True}, TypeError, "max_skips must be an int, not bool"),
        ({"skips": -1}, ValueError, "skips >= 0 must hold, it is -1"),
    ],
)
def test_a_scaler_out_of_range(given: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^LossScaler: {message}$"):
        fastopt.LossScaler(**given)
    scaler = fastopt.LossScaler()
    with pytest.raises(error, match=rf"^LossScaler: {message}$"):
        scaler.load_state_dict({**scaler.state_dict(), **given})
    assert scaler == fastopt.LossScaler()


SKIPPED = fastopt.StepResult(skipped=True, grad_norm=np.inf, nonfinite="grads['w']")
WENT_ON = fastopt.StepResult(skipped=False, grad_norm=1.0, nonfinite=None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_number_of_skips_makes_a_scale_that_breaks_a_step(dtype: Any) -> None:
    w = np.ones(3, dtype)
    opt = fastopt.SGD(w, lr=0.5, skip_nonfinite=True)
    scaler = fastopt.LossScaler(max_skips=None)
    for _ in range(400):
        g = np.full(3, np.inf, dtype)
        scaler.update(opt.step(g, grad_scale=scaler.grad_scale))
    assert (scaler.scale, scaler.skips) == (2.0**-126, 400)
    assert np.isfinite(np.float32(scaler.grad_scale))
    scaler.update(opt.step(np.zeros(3, dtype), grad_scale=scaler.grad_scale))
    assert w.tolist() == [1, 1, 1]
    assert scaler.skips == 0


def test_the_least_scale_and_the_largest() -> None:
    scaler = fastopt.LossScaler(scale=8.0, min_scale=1.0, backoff=0.3, interval=1)
    scales = []
    for _ in range(3):
        scaler.update(SKIPPED)
        scales.append(scaler.scale)
    assert scales == [8 * 0.3, 1.0, 1.0]
    for _ in range(200):
        scaler.update(WENT_ON)
    assert scaler.scale == 2.0**126
    assert np.float32(scaler.grad_scale) == 2.0**-126
    assert fastopt.LossScaler(scale=2.0**1000, interval=1).scale == 2.0**1000


def test_too_many_skips_in_a_row() -> None:
    scaler = fastopt.LossScaler(scale=8.0, max_skips=3)
    for _ in range(2):
        for _ in range(3):
            scaler.update(SKIPPED)
        before = scaler.state_dict()
        assert before["skips"] == 3
        message = (
            r"^LossScaler.update: 4 steps in a row were skipped, the latest because "
            r"grads\['w'\] was not finite at scale="
        )
        for _ in range(2):
            with pytest.raises(FloatingPointError, match=message):
                scaler.update(SKIPPED)
            assert scaler.state_dict() == before
        scaler.update(WENT_ON)
        assert scaler.skips == 0
    default = fastopt.LossScaler()
    for _ in range(100):
        default.update(SKIPPED)
    with pytest.raises(FloatingPointError, match="101 steps in a row"):
        default.update(SKIPPED)


def test_a_scaler_goes_on_where_it_was() -> None:
    scaler = fastopt.LossScaler(scale=8.0, min_scale=0.5, max_skips=2)
    scaler.update(SKIPPED)
    other = fastopt.LossScaler()
    other.load_state_dict(scaler.state_dict())
    assert other == scaler
    for each in (scaler, other):
        each.update(SKIPPED)
        with pytest.raises(FloatingPointError, match="3 steps in a row"):
            each.update(SKIPPED)


def test_the_state_of_an_earlier_version() -> None:
    old = {"scale": 4.0, "growth": 2.0, "backoff": 0.5, "interval": 2000, "good_steps": 7}
    scaler = fastopt.LossScaler(max_skips=5, min_scale=0.25)
    scaler.load_state_dict(old)
    assert scaler.state_dict() == {**old, "min_scale": 0.25, "max_skips": 5, "skips": 0}
    scaler.load_state_dict({**old, "scale": 2.0**-144})
    assert (scaler.scale, scaler.min_scale) == (2.0**-144, 2.0**-144)


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
