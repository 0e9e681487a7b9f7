"""The conventions of other libraries, against their formulas as they write them, in float64.

Keras' optimizers are restated from keras/src/optimizers, in its operations and its order. Where a
library that is light enough to be installed has the rule, it is asked itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import fastopt

TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}
STEPS = 20
LR = 0.02


def changing_lr(t: int) -> float:
    return LR * (1.5 + math.sin(t))


def run(ours: Callable[[Any, Any], None], theirs: Callable[[Any, Any, int], Any]) -> None:
    rng = np.random.default_rng(1)
    p = rng.standard_normal(50)
    q = p.copy()
    for t in range(1, STEPS + 1):
        g = rng.standard_normal(50)
        ours(p, g)
        q = theirs(q, g, t)
        np.testing.assert_allclose(p, q, **TOLERANCE)


def test_keras_adam() -> None:
    beta1, beta2, eps = 0.9, 0.999, 1e-3
    state = fastopt.adam_init(np.zeros(50))
    m, v = np.zeros(50), np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal m, v
        alpha = LR * np.sqrt(1 - beta2**t) / (1 - beta1**t)
        m = m + (g - m) * (1 - beta1)
        v = v + (np.square(g) - v) * (1 - beta2)
        return p - (m * alpha) / (np.sqrt(v) + eps)

    run(lambda p, g: fastopt.adam_step(p, g, state, lr=LR, eps=eps, epsilon_hat=True), keras)


def test_keras_adamw() -> None:
    """Keras decays before the rule, as torch does."""
    state = fastopt.adam_init(np.zeros(50))
    m, v = np.zeros(50), np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal m, v
        p = p - p * 0.1 * LR
        m = m + (g - m) * (1 - 0.9)
        v = v + (np.square(g) - v) * (1 - 0.999)
        return p - (m * (LR * np.sqrt(1 - 0.999**t) / (1 - 0.9**t))) / (np.sqrt(v) + 1e-7)

    options = {"lr": LR, "eps": 1e-7, "epsilon_hat": True, "weight_decay": 0.1}
    run(lambda p, g: fastopt.adam_step(p, g, state, **options), keras)


def test_the_two_epsilons_differ_and_convert() -> None:
    """The paper's form with eps / sqrt(1 - beta2**t) is the epsilon-hat form."""
    state = fastopt.adam_init(np.zeros(50))
    other = fastopt.adam_init(np.zeros(50))
    eps = 0.01

    def converted(p: Any, g: Any, t: int) -> Any:
        fastopt.adam_step(p, g, other, lr=LR, eps=eps / np.sqrt(1 - 0.999**t))
        return p

    run(lambda p, g: fastopt.adam_step(p, g, state, lr=LR, eps=eps, epsilon_hat=True), converted)


@pytest.mark.parametrize("epsilon_hat", [False, True])
def test_berts_adam_corrects_no_bias(epsilon_hat: bool) -> None:
    """AdamWeightDecayOptimizer of BERT's optimization.py."""
    state = fastopt.adam_init(np.zeros(50))
    m, v = np.zeros(50), np.zeros(50)

    def bert(p: Any, g: Any, t: int) -> Any:
        nonlocal m, v
        m = 0.9 * m + (1.0 - 0.9) * g
        v = 0.999 * v + (1.0 - 0.999) * np.square(g)
        update = m / (np.sqrt(v) + 1e-6)
        update += 0.01 * p
        return p - LR * update

    options = {"lr": LR, "eps": 1e-6, "weight_decay": 0.01, "bias_correction": False}
    run(lambda p, g: fastopt.adam_step(p, g, state, epsilon_hat=epsilon_hat, **options), bert)


@pytest.mark.parametrize("corrects", [False, True])
def test_flowers_fedadam(corrects: bool) -> None:
    """Its gradient is the way from the current weights to the average of the clients'."""
    beta1, beta2, eta, tau = 0.9, 0.99, 0.1, 1e-9
    state = fastopt.adam_init(np.zeros(50))
    m, v = np.zeros(50), np.zeros(50)

    def flower(p: Any, delta: Any, t: int) -> Any:
        nonlocal m, v
        m = np.multiply(beta1, m) + (1 - beta1) * delta
        v = beta2 * v + (1 - beta2) * np.multiply(delta, delta)
        norm = np.sqrt(1 - beta2 ** (t + 1.0)) / (1 - beta1 ** (t + 1.0)) if corrects else 1.0
        return p + eta * norm * m / (np.sqrt(v) + tau)

    options = {"epsilon_hat": True} if corrects else {"bias_correction": False}
    state.step = int(corrects)  # its corrections are one step ahead

    def ours(p: Any, delta: Any) -> None:
        fastopt.adam_step(p, delta, state, lr=eta, beta2=beta2, eps=tau, maximize=True, **options)

    run(ours, flower)


@pytest.mark.parametrize("correction", [False, True])
def test_deepspeed_may_leave_out_the_bias_corrections(correction: bool) -> None:
    """As its csrc/adam/cpu_adam_impl.cpp has them, in float64."""
    state = fastopt.adam_init(np.zeros(50))
    m, v = np.zeros(50), np.zeros(50)

    def deepspeed(p: Any, g: Any, t: int) -> Any:
        nonlocal m, v
        m = m * 0.9 + g * (1 - 0.9)
        v = v * 0.999 + g * g * (1 - 0.999)
        step_size, root = -LR, np.sqrt(v)
        if correction:
            step_size, root = -LR / (1 - 0.9**t), root * (1 / math.sqrt(1 - 0.999**t))
        return m / (root + 1e-8) * step_size + p

    run(lambda p, g: fastopt.adam_step(p, g, state, lr=LR, bias_correction=correction), deepspeed)


@pytest.mark.parametrize("nesterov", [False, True])
def test_keras_momentum(nesterov: bool) -> None:
    state = fastopt.momentum_init(np.zeros(50))
    velocity = np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal velocity
        velocity = 0.9 * velocity - LR * g
        return p + (0.9 * velocity - LR * g if nesterov else velocity)

    run(lambda p, g: fastopt.momentum_step(p, g, state, lr=LR, nesterov=nesterov), keras)
    np.testing.assert_allclose(state.buf, -velocity / LR, **TOLERANCE)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dampening", [0.0, 0.3])  # Keras has none
def test_keras_momentum_under_a_schedule(nesterov: bool, dampening: float) -> None:
    state = fastopt.momentum_init(np.zeros(50))
    velocity = np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal velocity
        lr = changing_lr(t)
        velocity = velocity * 0.9 - g * lr * (1 if t == 1 else 1 - dampening)
        return p + (velocity * 0.9 - g * lr if nesterov else velocity)

    def ours(p: Any, g: Any) -> None:
        options = {"dampening": dampening, "nesterov": nesterov, "lr_inside": True}
        fastopt.momentum_step(p, g, state, lr=changing_lr(state.step + 1), **options)

    run(ours, keras)
    np.testing.assert_allclose(state.buf, velocity, **TOLERANCE)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_two_places_of_lr_differ_under_a_schedule_and_convert(nesterov: bool) -> None:
    rng = np.random.default_rng(1)
    outside, inside = np.zeros((2, 50))
    state, other = map(fastopt.momentum_init, (outside, inside))

    def both(lr: float) -> float:
        g = rng.standard_normal(50)
        fastopt.momentum_step(outside, g, state, lr=lr, nesterov=nesterov)
        fastopt.momentum_step(inside, g, other, lr=lr, nesterov=nesterov, lr_inside=True)
        return np.max(np.abs(outside - inside))

    assert max(both(LR) for _ in range(STEPS)) < 1e-12
    np.testing.assert_allclose(other.buf, -LR * state.buf, **TOLERANCE)
    assert both(2 * LR) > LR
    inside[...], other.buf[...] = outside, -2 * LR * state.buf
    assert max(both(2 * LR) for _ in range(STEPS)) < 1e-12


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_keras_rmsprop(centered: bool, momentum: float) -> None:
    rho, eps = 0.9, 1e-3
    state = fastopt.rmsprop_init(np.zeros(50), centered=centered, momentum=momentum > 0)
    velocity, average, moment = np.zeros(50), np.zeros(50), np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal velocity, average, moment
        velocity = rho * velocity + (1 - rho) * np.square(g)
        denominator = velocity + eps
        if centered:
            average = rho * average + (1 - rho) * g
            denominator = velocity - np.square(average) + eps
        increment = LR * g / np.sqrt(denominator)
        if momentum > 0:
            moment = momentum * moment + increment
            return p - moment
        return p - increment

    def ours(p: Any, g: Any) -> None:
        fastopt.rmsprop_step(
            p, g, state, lr=LR, rho=rho, eps=eps, eps_inside_sqrt=True, momentum=momentum
        )

    run(ours, keras)


def test_thinc_and_onnx_decay_after_the_rule() -> None:
    state = fastopt.momentum_init(np.zeros(50))
    buf = np.zeros(50)

    def onnx(p: Any, g: Any, t: int) -> Any:
        nonlocal buf
        buf = 0.9 * buf + g
        p = p - LR * buf
        return p - LR * 0.1 * p

    options = {"lr": LR, "weight_decay": 0.1, "decay_after": True}
    run(lambda p, g: fastopt.momentum_step(p, g, state, **options), onnx)


def test_dampening_equal_to_momentum_is_an_average() -> None:
    """autograd and OpenAI's evolution strategies; they start the average at zero."""
    state = fastopt.momentum_init(np.zeros(50))
    state.step = 1  # so that the first gradient is damped like any other
    average = np.zeros(50)

    def autograd(p: Any, g: Any, t: int) -> Any:
        nonlocal average
        average = -(1 - 0.9) * g + 0.9 * average
        return p + LR * average

    run(lambda p, g: fastopt.momentum_step(p, g, state, lr=LR, dampening=0.9), autograd)


def test_proximal_l1_is_ista() -> None:
    """One proximal SGD step is one step of ISTA (Beck & Teboulle 2009, eq. 1.4)."""

    def ista(p: Any, g: Any, t: int) -> Any:
        moved = p - LR * g
        return np.sign(moved) * np.maximum(np.abs(moved) - LR * 2.0, 0)

    run(lambda p, g: fastopt.sgd_step(p, g, lr=LR, l1_prox=2.0), ista)


def test_scikit_learn_adam() -> None:
    optimizers = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    p = np.zeros(50)
    theirs = optimizers.AdamOptimizer([p], learning_rate_init=LR)
    state = fastopt.adam_init(p)

    def sklearn(q: Any, g: Any, t: int) -> Any:
        return q + theirs._get_updates([g])[0]

    run(lambda p, g: fastopt.adam_step(p, g, state, lr=LR, epsilon_hat=True), sklearn)


@pytest.mark.parametrize("nesterov", [False, True])
def test_scikit_learn_sgd_under_a_schedule(nesterov: bool) -> None:
    optimizers = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    theirs = optimizers.SGDOptimizer([np.zeros(50)], momentum=0.9, nesterov=nesterov)
    state = fastopt.momentum_init(np.zeros(50))

    def sklearn(q: Any, g: Any, t: int) -> Any:
        theirs.learning_rate = changing_lr(t)
        return q + theirs._get_updates([g])[0]

    def ours(p: Any, g: Any) -> None:
        lr = changing_lr(state.step + 1)
        fastopt.momentum_step(p, g, state, lr=lr, nesterov=nesterov, lr_inside=True)

    run(ours, sklearn)
    np.testing.assert_allclose(state.buf, theirs.velocities[0], **TOLERANCE)


def test_thinc_adam() -> None:
    """thinc passes the corrected learning rate on, as its Optimizer computes it; float32 alone."""
    numpy_ops = pytest.importorskip("thinc.backends").NumpyOps()
    rng = np.random.default_rng(1)
    p, q = np.zeros((2, 50), np.float32)
    m, v = np.zeros((2, 50), np.float32)
    state = fastopt.adam_init(p)
    for t in range(1, STEPS + 1):
        g = rng.standard_normal(50).astype(np.float32)
        fastopt.adam_step(p, g, state, lr=LR, epsilon_hat=True)
        rate = LR * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        q = numpy_ops.adam(q, g.copy(), m, v, 0.9, 0.999, 1e-8, rate, 1.0)[0]
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-6)


def test_optax_rmsprop() -> None:
    """optax adds eps inside of the root unless told otherwise (scale_by_rms)."""
    state = fastopt.rmsprop_init(np.zeros(50))
    nu = np.zeros(50)

    def optax(p: Any, g: Any, t: int) -> Any:
        nonlocal nu
        nu = (1 - 0.9) * g**2 + 0.9 * nu
        return p - LR * (g / np.sqrt(nu + 1e-8))

    run(lambda p, g: fastopt.rmsprop_step(p, g, state, lr=LR, rho=0.9, eps_inside_sqrt=True), optax)


def test_keras_and_optax_clip_without_epsilon() -> None:
    for limit in (0.1, 5.0, 1e3):

        def keras(p: Any, g: Any, t: int, limit: float = limit) -> Any:
            return p - LR * (g * limit / max(np.linalg.norm(g), limit))

        def optax(p: Any, g: Any, t: int, limit: float = limit) -> Any:
            norm = np.linalg.norm(g)
            return p - LR * (g if norm < limit else (g / norm) * limit)

        options = {"lr": LR, "clip_eps": 0.0}
        for theirs in (keras, optax):  # one array: the global norm is that of the array
            for name in ("clip_norm", "clip_tensor_norm"):
                step = partial(fastopt.sgd_step, **options, **{name: limit})
                run(lambda p, g, step=step: step(p, g), theirs)


def test_keras_clipvalue() -> None:
    def keras(p: Any, g: Any, t: int) -> Any:
        return p - LR * np.clip(g, -0.5, 0.5)

    run(lambda p, g: fastopt.sgd_step(p, g, lr=LR, clip_value=0.5), keras)


@pytest.mark.parametrize(
    ("shape", "axis"), [((7, 5), 0), ((7, 5), 1), ((3, 4, 2, 6), (0, 1, 2)), ((9,), 0)]
)
def test_keras_max_norm(shape: tuple, axis: Any) -> None:
    """Keras' MaxNorm; it also shortens vectors within the limit, by norm / (norm + 1e-7)."""
    w = np.random.default_rng(2).standard_normal(shape)
    norms = np.sqrt(np.sum(np.square(w), axis=axis, keepdims=True))
    limit = float(np.median(norms)) * 0.99
    expected = w * (np.clip(norms, 0, limit) / (1e-7 + norms))
    fastopt.max_norm(w, limit, axis=axis)
    np.testing.assert_allclose(w, expected, rtol=1e-6, atol=0)


def test_keras_non_neg() -> None:
    """Keras' NonNeg is w * (w >= 0), after the step."""
    state = fastopt.momentum_init(np.zeros(50))
    buf = np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal buf
        buf = 0.9 * buf + g
        p = p - LR * buf
        return p * (p >= 0)

    run(lambda p, g: fastopt.momentum_step(p, g, state, lr=LR, nonneg=True), keras)


def test_penalties_of_keras_and_scikit_learn() -> None:
    w = np.random.default_rng(3).standard_normal((6, 4))
    for ours, theirs in [
        ({"l1": 0.3}, 0.3 * np.sum(np.abs(w))),  # Keras' L1(0.3)
        ({"l2": 2 * 0.3}, 0.3 * np.sum(np.square(w))),  # Keras' L2(0.3)
        ({"l1": 0.1, "l2": 2 * 0.3}, 0.1 * np.sum(np.abs(w)) + 0.3 * np.sum(np.square(w))),
        (  # ElasticNet(alpha=0.5, l1_ratio=0.3)
            {"l1": 0.5 * 0.3, "l2": 0.5 * (1 - 0.3)},
            0.5 * 0.3 * np.linalg.norm(w.ravel(), 1)
            + 0.5 * 0.5 * (1 - 0.3) * np.linalg.norm(w) ** 2,
        ),
    ]:
        assert fastopt.penalty(w, **ours) == pytest.approx(theirs, rel=1e-13)


def test_inverted_dropout_of_torch_and_keras() -> None:
    """torch multiplies by mask / (1 - p), Keras by mask * (1 / (1 - rate))."""
    x = np.random.default_rng(4).standard_normal((40, 5))
    for p in (0.25, 0.5, 0.75):  # multiples of 1/65536, which is all that ours can have
        mask = fastopt.dropout_mask(x.shape, p, seed=1, packed=False)
        np.testing.assert_allclose(fastopt.dropout(x, p, seed=1), x * (mask / (1 - p)), **TOLERANCE)


def test_a_converted_velocity_is_used() -> None:
    """With step 0 the buffer would be overwritten by the first gradient."""
    velocity = np.full(3, -0.2)
    for lr_inside, buf in ((False, -velocity / LR), (True, velocity.copy())):
        state = fastopt.MomentumState(step=1, buf=buf)
        p = np.zeros(3)
        fastopt.momentum_step(p, np.ones(3), state, lr=LR, lr_inside=lr_inside)
        np.testing.assert_allclose(p, 0.9 * velocity - LR * 1.0, **TOLERANCE)
