"""Adafactor as transformers, optax and the parts of optax have it, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastopt

SHAPES = [(20, 30), (50,), (3, 17, 19)]


def against(theirs: Callable[[Any, Any], Any], tolerance: float = 1e-12, **options: Any) -> None:
    """Compare twenty steps of ours with theirs, which return the new parameter."""
    for shape in SHAPES:
        rng = np.random.default_rng(5)
        p = rng.standard_normal(shape)
        q = p.copy()
        state = fastopt.adafactor_init(p, beta1="beta1" in options)
        held: list[Any] = []
        for _ in range(20):
            g = rng.standard_normal(shape)
            q = theirs(held, (q, g))
            fastopt.adafactor_step(p, g, state, **options)
            np.testing.assert_allclose(p, q, rtol=tolerance, atol=tolerance)


TRANSFORMERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"lr": 0.1, "relative_step": False}, {"lr": 0.1, "relative_step": False}),
    (
        {"lr": 0.1, "relative_step": False, "scale_parameter": False, "clip_threshold": 0.5},
        {"lr": 0.1, "relative_step": False, "scale_parameter": False, "d": 0.5},
    ),
    ({"beta1": 0.9, "decay_rate": -0.5}, {"beta1": 0.9, "beta2_decay": -0.5}),
    ({"eps": (1e-3, 2.0), "clip_threshold": 1.5}, {"eps1": 1e-3, "eps2": 2.0, "d": 1.5}),
]


@pytest.mark.parametrize(("its", "options"), TRANSFORMERS)
def test_transformers(its: dict[str, Any], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers.optimization")

    def theirs(held: list[Any], given: Any) -> Any:
        p, g = given
        if not held:
            parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
            held[:] = parameter, transformers.Adafactor([parameter], **its)
        parameter, optimizer = held
        parameter.grad = torch.from_numpy(g.copy())
        optimizer.step()
        return parameter.detach().numpy()

    against(theirs, **options)


def test_warm_up_of_transformers_is_a_schedule(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers.optimization")
    p = rng.standard_normal((20, 30))
    parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
    theirs = transformers.Adafactor([parameter], warmup_init=True)
    ours = fastopt.Adafactor(p, lr=lambda t: 1e-6 * (t + 1))
    for _ in range(20):
        g = rng.standard_normal(p.shape)
        parameter.grad = torch.from_numpy(g.copy())
        theirs.step()
        ours.step(g)
        np.testing.assert_allclose(p, parameter.detach().numpy(), rtol=1e-12)


OPTAX: list[tuple[dict[str, Any], list[str], dict[str, Any]]] = [
    ({}, ["scale_by_param_block_rms"], {"lr": 0.1}),
    (
        {"decay_rate": 0.5, "epsilon": 1e-3},
        ["scale_by_param_block_rms"],
        {"lr": 0.1, "beta2_decay": -0.5, "eps1": 1e-3, "d": 0.5},
    ),
    ({}, [], {"lr": 0.1, "scale_parameter": False, "beta1": 0.9}),
]


@pytest.mark.parametrize(("its", "more", "options"), OPTAX)
def test_optax(its: dict[str, Any], more: list[str], options: dict[str, Any]) -> None:
    """The parts of ``optax.adafactor``, which itself rounds the decay rate to float32."""
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    made = optax.chain(
        optax.scale_by_factored_rms(
            min_dim_size_to_factor=1,
            decay_rate_fn=lambda i, exponent: 1 - (i + 1.0) ** -exponent,
            **its,
        ),
        optax.clip_by_block_rms(options.get("d", 1.0)),
        optax.scale(options["lr"]),
        *(getattr(optax, name)() for name in more),
        *([optax.ema(options["beta1"], debias=False)] if "beta1" in options else []),
        optax.scale(-1),
    )

    def theirs(held: list[Any], given: Any) -> Any:
        p, g = map(jax.numpy.asarray, given)
        updates, state = made.update(g, held[0] if held else made.init(p), p)
        held[:] = [state]
        return np.asarray(optax.apply_updates(p, updates))

    with jax.enable_x64(True):
        against(theirs, relative_step=False, **options)
