"""Configs name fastopt's optimizers, and models of thinc, PyTorch and spaCy train on them."""

from __future__ import annotations

import inspect
import random
from typing import Any

import numpy as np
import pytest

theirs = pytest.importorskip("thinc.optimizers")
api = pytest.importorskip("thinc.api")

from test_thinc import CLOSE, numbers  # noqa: E402

from fastopt import thinc as ours  # noqa: E402


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_signatures_and_defaults(name: str) -> None:
    own, their = getattr(ours, name), getattr(theirs, name)
    assert inspect.signature(own) == inspect.signature(their)
    rate = () if name == "Adam" else (0.1,)
    made, expected = own(*rate), their(*rate)
    assert numbers(made) == numbers(expected)
    assert made.L2_is_weight_decay is expected.L2_is_weight_decay
    assert made.averages == expected.averages


CONFIG = """
[optimizer]
@optimizers = "fastopt.Adam.v1"
beta1 = 0.8
L2 = 0.01

[optimizer.learn_rate]
@schedules = "warmup_linear.v1"
warmup_steps = 2
total_steps = 9
initial_rate = 0.1

[other]
@optimizers = "fastopt.SGD.v1"
learn_rate = 0.1

[third]
@optimizers = "fastopt.RAdam.v1"
"""


def test_the_names_are_in_the_registry() -> None:
    made = api.registry.resolve(api.Config().from_str(CONFIG))
    assert type(made["optimizer"]) is type(made["other"]) is ours.Optimizer
    assert isinstance(made["optimizer"], api.Optimizer)
    assert [made[name].use_radam for name in ("optimizer", "other", "third")] == [
        False,
        False,
        True,
    ]
    assert numbers(made["optimizer"]) == [0.0, 0.8, 0.999, 1e-8, 0.01, 1.0]
    assert numbers(made["other"])[:3] == [0.1, 0.0, 0.0]
    wrong = api.Config().from_str(CONFIG.replace("beta1 = 0.8", "momentum = 0.9"))
    with pytest.raises(api.ConfigValidationError, match="momentum"):
        api.registry.resolve(wrong)


def test_a_model() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 20, 4)).astype("f")
    both = []
    for module in theirs, ours:
        api.fix_random_seed(0)
        model = api.chain(api.Relu(8), api.LayerNorm(), api.Linear(4)).initialize(x, y)
        optimizer = module.Adam(0.01, L2=0.1)
        for _ in range(10):
            guess, backprop = model.begin_update(x)
            backprop((guess - y) / len(x))
            model.finish_update(optimizer)
            optimizer.step_schedules()
        with model.use_params(optimizer.averages):
            averaged = model.predict(x)
        both.append((model.predict(x), averaged))
    np.testing.assert_allclose(both[1], both[0], rtol=1e-4, atol=1e-5)
    assert abs(both[1][0] - both[1][1]).max() > 1e-3


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch, about thinc
@pytest.mark.filterwarnings("ignore:grad and param")  # thinc's copies have another layout
def test_layers_of_torch() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((20, 4)).astype("f")
    both = []
    for module in theirs, ours:
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 3)
        layer.weight.data = layer.weight.data.t().contiguous().t()
        model = api.PyTorchWrapper(layer)
        optimizer = module.Adam(0.01, L2=0.1)
        for _ in range(5):
            guess, backprop = model.begin_update(x)
            backprop(guess - 1)
            model.finish_update(optimizer)
        both.append(model.predict(x))
    np.testing.assert_allclose(both[1], both[0], **CLOSE)


# spaCy


def text_categoriser(name: str, tmp_path: Any) -> tuple[list[float], float]:
    """Return the losses in training, and a score of what `to_disk` wrote."""
    spacy = pytest.importorskip("spacy")
    training = pytest.importorskip("spacy.training")
    schema = pytest.importorskip("spacy.schemas").ConfigSchemaTraining
    spacy.util.fix_random_seed(0)
    rng = random.Random(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("textcat")
    examples = []
    for i in range(40):
        words = [f"w{rng.randrange(60) + 30 * (i % 2)}" for _ in range(12)]
        cats = {"A": float(i % 2), "B": float(1 - i % 2)}
        examples.append(training.Example.from_dict(nlp.make_doc(" ".join(words)), {"cats": cats}))
    nlp.config["training"]["optimizer"]["@optimizers"] = name
    nlp.initialize(lambda: examples)
    optimizer = spacy.registry.resolve(nlp.config.interpolate()["training"], schema=schema)[
        "optimizer"
    ]
    assert type(optimizer) is (theirs if name == "Adam.v1" else ours).Optimizer
    losses = []
    for step in range(12):
        found: dict[str, float] = {}
        nlp.update(examples[step % 4 * 10 :][:10], sgd=optimizer, losses=found)
        optimizer.step_schedules()
        losses.append(found["textcat"])
    with nlp.use_params(optimizer.averages):
        nlp.to_disk(tmp_path / name)
    return losses, spacy.load(tmp_path / name)(examples[0].text).cats["A"]


def test_the_text_categoriser_of_spacy(tmp_path: Any) -> None:
    expected, score = text_categoriser("Adam.v1", tmp_path)
    losses, same_score = text_categoriser("fastopt.Adam.v1", tmp_path)
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-6)
    assert same_score == pytest.approx(score, rel=1e-4)
    assert losses[-1] < losses[0] / 2
