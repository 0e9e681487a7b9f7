"""The example with PyTorch reaches what it promises, and its usual mistakes are mistakes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from test_examples import load_example

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("one_thread_of_torch")


@pytest.fixture(scope="module")
def example() -> Any:
    return load_example("torch_penalties")


@pytest.fixture(scope="module")
def runs(example: Any) -> Any:
    data = example.load()
    return {name: example.train(network, data) for name, network in example.NETWORKS.items()}


@pytest.mark.parametrize("number", range(5))
def test_options_are_terms_of_the_loss(example: Any, number: int) -> None:
    assert len(example.PAIRS) == 5
    option, in_loss = example.PAIRS[number]
    difference, times = example.compare(option, in_loss, epochs=5)
    if number < 3:
        assert difference < 1e-12
        without, _ = example.compare(example.Network(option.rule, {}), in_loss, epochs=5)
        assert without > 1e-3
    else:  # half of it, or decoupled
        assert difference > 1e-2
    assert len(times) == 3  # how they compare depends on what else the machine does
    assert min(times) > 0


def test_half_of_weight_decay(example: Any) -> None:
    twice = example.Network("Adam", {"weight_decay": 2 * example.L2})
    assert example.compare(twice, {"l2": 2 * example.L2}, epochs=2)[0] < 1e-12
    model, _ = example.start(twice, torch.float64)
    squares = sum(float((p.detach() ** 2).sum()) for p in model.parameters() if p.ndim == 2)
    sizes = sum(float(p.detach().abs().sum()) for p in model.parameters() if p.ndim == 2)
    assert example.terms(model, l2=0.3).item() == pytest.approx(0.15 * squares)
    assert example.terms(model, l1=0.3).item() == pytest.approx(0.3 * sizes)


def test_proximal_l1_alone_makes_zeros(runs: Any) -> None:
    shares = {name: np.mean(run.weights == 0) for name, run in runs.items()}
    assert 0.4 < shares.pop("proximal L1") < 0.7
    assert 0.2 < shares.pop("proximal L1, SGD") < 0.5
    assert set(shares.values()) == {0.0}
    assert np.mean(np.abs(runs["L1 by subgradient"].weights) < 1e-3) > 0.3


def test_decay_is_not_l2(runs: Any) -> None:
    norms = {name: np.linalg.norm(run.weights) for name, run in runs.items()}
    assert norms["L2"] < 0.7 * norms["no penalty"]
    assert norms["decay, same number"] == pytest.approx(norms["no penalty"], rel=0.01)
    assert norms["decay"] < 0.9 * norms["no penalty"]


@pytest.mark.parametrize("rule", ["SGD", "Adam", "AdamW"])
def test_biases_have_no_penalty(example: Any, rule: str) -> None:
    """Where the loss has no gradient, penalties alone move the parameters."""
    penalty = {"l1": 1.0} if rule != "AdamW" else {"weight_decay": 1.0}
    model, opt = example.start(example.Network(rule, penalty))
    before = copy.deepcopy(model.state_dict())
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    opt.step()
    for name, p in model.named_parameters():
        assert bool((p == before[name]).all()) == name.endswith("bias"), name


def test_dropout_is_on_in_training_alone(
    example: Any, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = example.load()
    model = runs["dropout"].model
    right = example.accuracy(model, data[1])
    forgotten = example.accuracy(model, data[1], torch.nn.Module.train)
    assert forgotten < right - 0.01
    training = []

    def loss(*arguments: Any) -> Any:
        training.append(model.training)
        return torch.nn.functional.cross_entropy(*arguments)

    monkeypatch.setattr(example, "cross_entropy", loss)
    model, opt = example.start(example.NETWORKS["dropout"])
    for _ in range(2):
        example.learn(model, opt, data[0], torch.Generator())
        example.accuracy(model, data[1])
        assert not model.training
    assert training == [True] * 40


def test_the_best_epoch_in_validation_is_kept(example: Any, runs: Any) -> None:
    data = example.load()
    for run in runs.values():
        assert example.accuracy(run.model, data[1]) == max(run.accuracies)
        assert 0.87 < example.accuracy(run.model, data[2]) < 0.93
    run = runs["L1 by subgradient"]
    assert max(run.accuracies) > max(run.accuracies[-1], *runs["no penalty"].accuracies)
