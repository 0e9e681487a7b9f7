"""Schedules point by point against torch's schedulers, and optax's where torch has none."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

import numpy as np
import pytest

from fastopt.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    Step,
    Warmup,
)

LR = 0.3
CYCLES = [(40, 0.25, 25), (37, 0.3, 10), (37, 0.0, 4), (9, 0.5, 2)]  # steps, pct_start, div_factor

# A schedule of ours, torch's scheduler of a rate of LR, its arguments, and how many values to
# compare.
PAIRS: list[tuple[Schedule, str, dict[str, Any], int]] = [
    (Constant(LR), "ConstantLR", {"factor": 1.0}, 20),
    (
        Constant(0.25 * LR).then(LR, at=7),
        "ConstantLR",
        {"factor": 0.25, "total_iters": 7},
        20,
    ),
    (
        Linear(0.2 * LR, 0.7 * LR, steps=11),
        "LinearLR",
        {"start_factor": 0.2, "end_factor": 0.7, "total_iters": 11},
        30,
    ),
    (Linear(LR / 3, LR, steps=5), "LinearLR", {}, 10),
    (Polynomial(LR, steps=5), "PolynomialLR", {}, 10),
    (Polynomial(LR, steps=13, power=2.5), "PolynomialLR", {"total_iters": 13, "power": 2.5}, 30),
    (Exponential(LR, gamma=0.93), "ExponentialLR", {"gamma": 0.93}, 100),
    (Exponential(LR, gamma=1.1), "ExponentialLR", {"gamma": 1.1}, 100),
    (Step(LR, step_size=4), "StepLR", {"step_size": 4}, 30),
    (Step(LR, step_size=3, gamma=0.7), "StepLR", {"step_size": 3, "gamma": 0.7}, 60),
    (MultiStep(LR, milestones=[2, 3, 9]), "MultiStepLR", {"milestones": [2, 3, 9]}, 20),
    (
        MultiStep(LR, milestones=[5, 8], gamma=0.3),
        "MultiStepLR",
        {"milestones": [5, 8], "gamma": 0.3},
        20,
    ),
    (Cosine(LR, steps=50), "CosineAnnealingLR", {"T_max": 50}, 51),
    (Cosine(LR, 0.01, steps=17), "CosineAnnealingLR", {"T_max": 17, "eta_min": 0.01}, 18),
    *(
        (
            CosineRestarts(LR, end, steps=steps, t_mult=t_mult),
            "CosineAnnealingWarmRestarts",
            {"T_0": steps, "T_mult": t_mult, "eta_min": end},
            200,
        )
        for steps, t_mult, end in product((1, 5, 8), (1, 2, 3), (0.0, 0.01))
    ),
    *(
        (
            OneCycle(
                LR,
                steps=steps,
                pct_start=pct_start,
                anneal_strategy=strategy,
                div_factor=div_factor,
                final_div_factor=100,
                three_phase=three_phase,
            ),
            "OneCycleLR",
            {
                "max_lr": LR,
                "total_steps": steps,
                "pct_start": pct_start,
                "anneal_strategy": strategy,
                "div_factor": div_factor,
                "final_div_factor": 100,
                "three_phase": three_phase,
            },
            steps,
        )
        for strategy, three_phase in product(("cos", "linear"), (False, True))
        for steps, pct_start, div_factor in CYCLES
    ),
    (OneCycle(LR, steps=60), "OneCycleLR", {"max_lr": LR, "total_steps": 60}, 60),
]  # fmt: skip


def rates(make_scheduler: Any, steps: int, **optimizer_options: Any) -> list[dict[str, Any]]:
    """Return the options of torch's optimizer that each of its updates sees."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, **optimizer_options)
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR warns of a call that it makes itself
        scheduler = make_scheduler(torch.optim.lr_scheduler, optimizer)
        for _ in range(steps):
            seen.append(dict(optimizer.param_groups[0]))
            optimizer.step()
            scheduler.step()
            if len(seen) == steps - 1 and hasattr(scheduler, "total_steps"):
                scheduler.total_steps += 1  # else the call after the last update raises
    return seen


def check(schedule: Schedule, torchs: list[float]) -> None:
    """Compare; torch multiplies step by step, so its own errors add up."""
    ours = [schedule(step) for step in range(len(torchs))]
    np.testing.assert_allclose(ours, torchs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("schedule", "name", "options", "steps"), PAIRS)
def test_schedules_of_torch(
    schedule: Schedule, name: str, options: dict[str, Any], steps: int
) -> None:
    if name == "OneCycleLR":
        options = options | {"cycle_momentum": False}
    seen = rates(lambda library, opt: getattr(library, name)(opt, **options), steps)
    check(schedule, [group["lr"] for group in seen])


def test_momentum_of_one_cycle() -> None:
    seen = rates(
        lambda library, opt: library.OneCycleLR(opt, max_lr=LR, total_steps=50), 50, momentum=0.9
    )
    schedule = OneCycle(0.85, steps=50, div_factor=0.85 / 0.95, final_div_factor=1)
    check(schedule, [group["momentum"] for group in seen])


def test_joined_and_multiplied_schedules_of_torch() -> None:
    def warmup_then_cosine(library: Any, opt: Any) -> Any:
        ramp = library.LinearLR(opt, start_factor=0.1, total_iters=10)
        cosine = library.CosineAnnealingLR(opt, T_max=30, eta_min=0.02)
        return library.SequentialLR(opt, [ramp, cosine], milestones=[10])

    seen = [group["lr"] for group in rates(warmup_then_cosine, 41)]
    check(Warmup(Cosine(LR, 0.02, steps=30), steps=10, start=0.1 * LR), seen)
    check(Linear(0.1 * LR, LR, steps=10).then(Cosine(LR, 0.02, steps=30), at=10), seen)

    def ramp_and_steps(library: Any, opt: Any) -> Any:
        ramp = library.LinearLR(opt, start_factor=0.1, total_iters=10)
        return library.ChainedScheduler([ramp, library.StepLR(opt, 7)], optimizer=opt)

    seen = [group["lr"] for group in rates(ramp_and_steps, 40)]
    check(Linear(0.1, 1.0, steps=10) * Step(LR, step_size=7), seen)


@pytest.mark.parametrize("min_value", [0.0, 0.05])
@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (1, 0), (0, 2), (3, 1), (2, 4)])
@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_of_torch(
    mode: str, threshold_mode: str, threshold: float, patience: int, cooldown: int, min_value: float
) -> None:
    """The same bits, on metrics that get better, that only scatter, below zero, and with NaN."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(20150507)
    sign = 1 if mode == "min" else -1
    scatter = 0.2 * rng.standard_normal(120)
    with_nan = np.where(rng.random(120) < 0.2, np.nan, scatter)
    falling = 2 + sign * np.exp(-np.arange(120) / 30)
    options = {
        "factor": 0.6,
        "patience": patience,
        "threshold": threshold,
        "threshold_mode": threshold_mode,
        "mode": mode,
        "cooldown": cooldown,
    }
    for metrics in (
        falling + scatter / 4,
        falling,
        scatter,
        scatter - 3,
        with_nan,
        np.round(scatter),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
        torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=min_value, **options)
        ours = ReduceOnPlateau(LR, min_value=min_value, **options)
        for step, metric in enumerate(metrics):
            before = ours.value
            reduced = ours.update(metric)
            torchs.step(metric)
            assert ours(step) == optimizer.param_groups[0]["lr"]
            assert reduced == (ours(step) != before)
            assert ours.num_bad == torchs.num_bad_epochs
            assert ours.cooldown_left == torchs.cooldown_counter
            assert ours.best == (torchs.best if np.isfinite(torchs.best) else None)


def test_eps_of_torch() -> None:
    """A reduction that is too small is left out, but its cooldown begins."""
    torch = pytest.importorskip("torch")
    for lr, eps in ((1e-7, 1e-8), (1e-8, 1e-8), (1e-8, 0.0), (1.0, 0.5), (1.0, 0.51)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
        options = {"factor": 0.5, "patience": 1, "cooldown": 1, "eps": eps}
        torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        ours = ReduceOnPlateau(lr, **options)
        for _ in range(30):
            ours.update(1.0)
            torchs.step(1.0)
            assert ours(0) == optimizer.param_groups[0]["lr"]
            assert ours.cooldown_left == torchs.cooldown_counter


def test_schedules_of_optax() -> None:
    """In float32, optax's own type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optax = pytest.importorskip("optax")
    pairs: list[tuple[Schedule, Any]] = [
        (Linear(0.3, 0.1, steps=20), optax.linear_schedule(0.3, 0.1, 20)),
        (
            Polynomial(0.3, 0.1, steps=20, power=2.5),
            optax.polynomial_schedule(0.3, 0.1, 2.5, 20),
        ),
        (Exponential(0.3, gamma=0.5, steps=7), optax.exponential_decay(0.3, 7, 0.5)),
        (
            Step(0.3, step_size=7, gamma=0.5),
            optax.exponential_decay(0.3, 7, 0.5, staircase=True),
        ),
        (
            MultiStep(0.3, milestones=[5, 9], gamma=0.5),
            optax.piecewise_constant_schedule(0.3, {5: 0.5, 9: 0.5}),
        ),
        (Cosine(0.3, 0.03, steps=20), optax.cosine_decay_schedule(0.3, 20, alpha=0.1)),
        (
            Warmup(Cosine(0.3, 0.03, steps=15), steps=5, start=0.01),
            optax.warmup_cosine_decay_schedule(0.01, 0.3, 5, 20, end_value=0.03),
        ),
        (
            Warmup(Exponential(0.3, gamma=0.5, steps=7), steps=5),
            optax.warmup_exponential_decay_schedule(0.0, 0.3, 5, 7, 0.5),
        ),
        (
            Cosine(0.3, steps=8).then(Linear(0.2, steps=9), at=11),
            optax.join_schedules(
                [optax.cosine_decay_schedule(0.3, 8), optax.linear_schedule(0.2, 0.0, 9)], [11]
            ),
        ),
    ]
    for ours, theirs in pairs:
        wanted = [float(theirs(step)) for step in range(40)]
        got = [ours(step) for step in range(40)]
        np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-7, err_msg=repr(ours))
