"""Programs of docs/recipes.md end at the parameters of each library's own optimizer: arrays."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipes import PAGE, STEPS, arrays, assert_close, needs_page, programs, recipe

import fastopt

pytestmark = needs_page
close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)


def test_every_recipe_is_tested() -> None:
    titles = re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE)
    assert titles == list(programs())
    assert PAGE.read_text().count("```python") == len(titles)
    code = "".join(path.read_text() for path in Path(__file__).parent.glob("test_recipes*.py"))
    assert {*re.findall(r'recipe\("([^%].*?)"\)', code)} == {*titles}


# HIPS autograd


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adam", {}),
        ("adam", {"step_size": 0.1, "num_iters": 5, "b1": 0.5, "b2": 0.8, "eps": 0.1}),
        ("sgd", {}),
        ("sgd", {"step_size": 0.2, "num_iters": 5, "mass": 0.5}),
        ("rmsprop", {}),
        ("rmsprop", {"step_size": 0.2, "num_iters": 5, "gamma": 0.5, "eps": 0.1}),
    ],
    ids=str,
)
def test_autograd(name: str, options: dict[str, Any]) -> None:
    optimizers = pytest.importorskip("autograd.misc.optimizers")
    autograd = pytest.importorskip("autograd")
    np_of_autograd = pytest.importorskip("autograd.numpy")

    def loss(x: Any, i: int) -> Any:
        w, (b, scale) = x["w"], x["rest"]
        return (np_of_autograd.tanh(w * scale - i) ** 2).sum() + (b**2).sum()

    start = {"w": arrays(0)["layer.weight"], "rest": (arrays(0)["layer.bias"], 0.5)}
    untouched = start["w"].copy()
    seen: dict[Any, Any] = {}

    def run(optimize: Any) -> Any:
        kept = seen[optimize] = []
        return optimize(autograd.grad(loss), start, lambda *args: kept.append(args), **options)

    ours, theirs = getattr(recipe("HIPS autograd"), name), getattr(optimizers, name)
    found, expected = run(ours), run(theirs)
    pairs = [((found, 0, found), (expected, 0, expected))]
    pairs += zip(seen[ours], seen[theirs], strict=True)
    for (x, i, g), (their_x, their_i, their_g) in pairs:
        assert i == their_i
        for a, b in [(x, their_x), (g, their_g)]:
            assert_close({"w": a["w"], "b": a["rest"][0]}, {"w": b["w"], "b": b["rest"][0]})
            np.testing.assert_allclose(a["rest"][1], b["rest"][1], 1e-12)
    np.testing.assert_array_equal(start["w"], untouched)


def test_autograd_leaves_a_lone_array_as_it_is() -> None:
    """`flatten` makes a view of it."""
    pytest.importorskip("autograd")
    start = np.ones(3)
    found = recipe("HIPS autograd").adam(lambda x, i: x, start)
    np.testing.assert_array_equal(start, np.ones(3))
    assert (found < 1).all()


# pyribs


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "options",
    [{}, {"lr": 0.1, "beta1": 0.5, "beta2": 0.8, "epsilon": 0.1, "l2_coeff": 0.3}],
    ids=str,
)
def test_ribs(dtype: type, options: dict[str, Any]) -> None:
    theirs = pytest.importorskip("ribs.emitters.opt").AdamOpt
    start = arrays(0, dtype)["layer.bias"]
    found, expected = (kind(start, **options) for kind in (recipe("pyribs").AdamOpt, theirs))
    for turn in range(2):
        for step in range(STEPS):
            gradient = arrays(step + 1, dtype)["layer.bias"]
            found.step(gradient.tolist() if turn else gradient)
            expected.step(gradient)
        np.testing.assert_allclose(
            found.theta, expected.theta, 1e-12 if dtype == np.float64 else 1e-6
        )
        assert found.theta.dtype == dtype
        found.reset(start)
        expected.reset(start)
    np.testing.assert_array_equal(start, arrays(0, dtype)["layer.bias"])


def test_an_emitter_of_ribs() -> None:
    archives = pytest.importorskip("ribs.archives")
    emitters = pytest.importorskip("ribs.emitters")

    def elites(grad_opt: Any) -> Any:
        archive = archives.GridArchive(solution_dim=3, dims=[10, 10], ranges=[(-4, 4), (-4, 4)])
        emitter = emitters.GradientArborescenceEmitter(
            archive,
            x0=np.ones(3),
            sigma0=0.5,
            lr=0.1,
            grad_opt=grad_opt,
            batch_size=6,
            es="openai_es",
            seed=1,
        )
        for _ in range(STEPS):
            asked = emitter.ask_dqd()
            jacobian = np.stack(
                [-2 * asked, *np.broadcast_to(np.eye(3)[:2, None], (2, *asked.shape))], 1
            )
            info = archive.add(asked, -(asked**2).sum(1), asked[:, :2])
            emitter.tell_dqd(asked, -(asked**2).sum(1), asked[:, :2], jacobian, info)
            asked = emitter.ask()
            info = archive.add(asked, -(asked**2).sum(1), asked[:, :2])
            emitter.tell(asked, -(asked**2).sum(1), asked[:, :2], info)
        return archive.data("solution")

    close(elites(recipe("pyribs").AdamOpt), elites("adam"), rtol=1e-9)


# PennyLane


def test_pennylane() -> None:
    qml = pytest.importorskip("pennylane")
    device = qml.device("default.qubit", wires=1)

    @qml.qnode(device)
    def circuit(angle: Any, data: float, more: Any) -> Any:
        qml.RX(angle, wires=0)
        qml.RY(more[0] * data, wires=0)
        qml.RX(more[1], wires=0)
        return qml.expval(qml.PauliZ(0))

    def linear(angle: Any, data: float, more: Any) -> Any:
        return 3.0 * angle + data * more[0]  # the gradient by the angle is a scalar

    for cost in (circuit, linear):
        results = []
        for kind in (recipe("PennyLane").AdamOptimizer, qml.AdamOptimizer):
            optimizer = kind(stepsize=0.1)
            angle = qml.numpy.array(0.4, requires_grad=True)
            more = start = qml.numpy.array([0.3, 0.2], requires_grad=True)
            args: Any = (angle, 0.7, more)
            for step in range(STEPS):
                args, _ = optimizer.step_and_cost(cost, *args)
                optimizer.stepsize = 0.1 / (1 + step)
            np.testing.assert_array_equal(start, [0.3, 0.2])
            assert args[1] == 0.7
            assert all(isinstance(args[i], qml.numpy.tensor) for i in (0, 2))
            assert args[0].requires_grad
            optimizer.reset()
            args = optimizer.step(cost, *args)
            results.append([args[0], *args[2]])
        close(*results)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("RMSPropOptimizer", partial(fastopt.RMSprop, rho=0.9, eps_inside_sqrt=True)),
        ("MomentumOptimizer", partial(fastopt.Momentum, lr_inside=True)),
    ],
)
def test_the_other_optimizers_of_pennylane(name: str, ours: Any) -> None:
    qml = pytest.importorskip("pennylane")
    optimizer, x, found = getattr(qml, name)(), qml.numpy.array(arrays(0)["layer.bias"]), arrays(0)
    own = ours(found["layer.bias"], lr=0.01)
    for step in range(STEPS):
        gradient = arrays(step + 1)["layer.bias"]
        (x,) = optimizer.apply_grad((gradient,), (x,))
        own.step(gradient)
    close(found["layer.bias"], x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("as_float", [False, True])
def test_pennylane_with_a_lone_scalar(dtype: type, as_float: bool) -> None:
    """Its gradient is an array in float64 or a number, whatever dtype it has."""
    qml = pytest.importorskip("pennylane")

    def gradient(x: Any) -> Any:
        return float(2 * x) if as_float else np.array(2 * x, np.float64)

    options = {"stepsize": 0.1, "beta1": 0.5, "beta2": 0.8, "eps": 0.1}
    results = []
    for kind in (recipe("PennyLane").AdamOptimizer, qml.AdamOptimizer):
        optimizer, x = kind(**options), qml.numpy.array(0.4, dtype=dtype, requires_grad=True)
        for _ in range(STEPS):
            x = optimizer.step(lambda x: x**2, x, grad_fn=gradient)
        results.append(x)
    found, expected = results
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, 1e-12 if dtype == np.float64 else 1e-6)


# Evolution strategies


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_evolution_strategies(name: str, dtype: type) -> None:
    """By the formulas of OpenAI's optimizers, which get `-g + l2coeff*theta`."""
    recipe_ = recipe("Evolution strategies")
    goal = np.array([1.0, -1.0, 0.5])

    def reward(theta: Any) -> float:
        return -float(((theta - goal) ** 2).sum())

    l2, lr = 0.05, 0.1
    theta = np.zeros(3, dtype)
    optimizer = getattr(recipe_, name)(theta, lr=lr, l2=l2)
    gradients: list[Any] = []
    step = optimizer.step
    optimizer.step = lambda g: (gradients.append(g), step(g))
    recipe_.evolve(reward, theta, optimizer, np.random.default_rng(0), generations=40)
    assert reward(theta) > reward(np.zeros(3)) / 4

    expected, m, v = np.zeros(3), np.zeros(3), np.zeros(3)
    for t, gradient in enumerate(gradients, start=1):
        g = -gradient.astype(np.float64) + l2 * expected
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        scale = np.sqrt(1 - 0.999**t) / (1 - 0.9**t) / (np.sqrt(v) + 1e-8)
        expected -= lr * m * (scale if name == "adam" else 1)
    np.testing.assert_allclose(theta, expected, 1e-12 if dtype == np.float64 else 1e-4)


def test_gradient_of_one_pair() -> None:
    """The better of the two has rank 1/2, the other -1/2; their difference is divided by both."""
    theta = np.zeros(3)
    optimizer = fastopt.SGD(theta, lr=1.0, maximize=True)
    evolve, rng = recipe("Evolution strategies").evolve, np.random.default_rng(0)
    evolve(lambda theta: -theta[0], theta, optimizer, rng, generations=1, pairs=1)
    noise = np.random.default_rng(0).standard_normal(3)
    np.testing.assert_allclose(theta, -np.sign(noise[0]) * noise / 2)


def test_ranks_are_those_of_the_rewards() -> None:
    ranks = recipe("Evolution strategies").centered_ranks(np.array([[3.0, -7.0], [9.0, 4.0]]))
    np.testing.assert_allclose(ranks, [[-1 / 6, -0.5], [0.5, 1 / 6]])
