"""A network in PyTorch with L1, L2, decoupled decay and dropout: options in place of loss terms.

An ``nn.Module`` of 64 pixels, 64 hidden units, 10 classes learns the 1,797 digits of scikit-learn
with ``fastopt.torch``. L1 is an option there, as L2 is. Both end where terms of the loss end, in
less time, and ``l1_prox`` makes zeros, which no term of the loss does.

The usual version has mistakes, which go unnoticed since it learns all the same. It

- adds ``l1_lambda * sum(p.abs().sum() for p in model.parameters())``: biases are parameters too.
  Here they are a group without penalty. (Where no decay is given AdamW has one, of 0.01.)
- expects zeros of that. A subgradient leaves weights near zero, on both sides of it.
- takes ``weight_decay`` for the factor of ``sum(w**2)``. It is that of ``sum(w**2)/2``.
- takes the ``weight_decay`` of AdamW for L2. That is Adam's. AdamW shrinks weights by the share
  ``lr*weight_decay`` in each step, which is no term of a loss: the same number does far less.
- adds terms to the loss: each batch goes through all weights forward and backward once more.
- forgets ``model.eval()``, and measures with units dropped; or ``model.train()`` after it.
- reports the epoch that is best on the test set. Here 400 other rows decide which one is kept, and
  the test set, of other hands (see ``sklearn_mlp.py``), is used once.
- keeps the best ``model.state_dict()`` without a copy: those tensors go on learning.

    pip install '.[examples,torch]'
    python examples/torch_penalties.py --plot torch.png
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset
from tqdm import tqdm

import fastopt
from fastopt.torch import SGD, Adam, AdamW

EPOCHS = 60
BATCH_SIZE = 50
L1, L2 = 1e-3, 6e-3
RULES: dict[str, Callable[..., Any]] = {
    "SGD": partial(SGD, lr=0.05, momentum=0.9),
    "Adam": partial(Adam, lr=1e-3),
    "AdamW": partial(AdamW, lr=1e-3),
}


class Network(NamedTuple):
    """What networks differ in: the rule, the penalty of weights, the share that is dropped."""

    rule: str
    penalty: dict[str, Any]
    dropout: float = 0.0


# With scaled_prox Adam ends at the minimum of the L1 penalty.
NETWORKS = {
    "no penalty": Network("Adam", {}),
    "L2": Network("Adam", {"weight_decay": L2}),
    "decay, same number": Network("AdamW", {"weight_decay": L2}),
    "decay": Network("AdamW", {"weight_decay": 1.0}),
    "L1 by subgradient": Network("Adam", {"l1": L1}),
    "proximal L1": Network("Adam", {"l1_prox": L1, "scaled_prox": True}),
    "proximal L1, SGD": Network("SGD", {"l1_prox": L1}),
    "dropout": Network("Adam", {}, dropout=0.5),
}

# Options, and terms of the loss. The last two are two usual mistakes: the weights differ.
PAIRS: list[tuple[Network, dict[str, float]]] = [
    (Network("SGD", {"l1": L1, "weight_decay": L2}), {"l1": L1, "l2": L2}),
    (Network("Adam", {"l1": L1}), {"l1": L1}),
    (Network("Adam", {"weight_decay": L2}), {"l2": L2}),
    (Network("Adam", {"weight_decay": L2}), {"l2": 2 * L2}),
    (Network("AdamW", {"weight_decay": L2}), {"l2": L2}),
]


class Run(NamedTuple):
    """A network of the epoch that was best in validation, and the accuracies there of all."""

    model: Any
    accuracies: list[float]

    @property
    def weights(self) -> Any:
        """Those from pixels to hidden units."""
        return self.model[0].weight.detach().numpy()


def load(dtype: torch.dtype = torch.float32) -> list[TensorDataset]:
    """Return rows to learn, rows that say which epoch to keep, and rows to test with."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(StandardScaler().fit(x[:1000]).transform(x), dtype=dtype)
    parts = (slice(0, 1000), slice(1000, 1400), slice(1400, None))
    return [TensorDataset(x[rows], torch.tensor(y[rows])) for rows in parts]


def start(network: Network, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Return a model that has not learned, and its optimizer."""
    torch.manual_seed(0)  # of the weights, and of dropout
    drop = nn.Dropout(network.dropout)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), drop, nn.Linear(64, 10)).to(dtype)
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": weights_of(model), **network.penalty}, {"params": biases}]
    return model, RULES[network.rule](groups, weight_decay=0.0)  # where a group has none


def weights_of(model: Any) -> list[Any]:
    """Return the parameters that have a penalty: all but biases."""
    return [p for p in model.parameters() if p.ndim > 1]


def terms(model: Any, l1: float = 0.0, l2: float = 0.0) -> Any:
    """Return penalties as terms of the loss, as articles have them."""
    weights = weights_of(model)
    sizes = l1 * sum(w.abs().sum() for w in weights) if l1 else 0.0
    return sizes + (l2 / 2 * sum((w**2).sum() for w in weights) if l2 else 0.0)


def learn(model: Any, opt: Any, part: TensorDataset, rng: Any, **in_loss: float) -> None:
    """Learn all rows once, in batches; the penalties `in_loss` are terms of the loss."""
    model.train()
    x, y = part.tensors
    for rows in torch.randperm(len(y), generator=rng).split(BATCH_SIZE):
        opt.zero_grad()
        loss = cross_entropy(model(x[rows]), y[rows])
        if in_loss:
            loss = loss + terms(model, **in_loss)
        loss.backward()
        opt.step()


def accuracy(model: Any, part: TensorDataset, mode: Callable[..., Any] = nn.Module.eval) -> float:
    """Return the share of images that are classified rightly, with nothing dropped."""
    mode(model)
    x, y = part.tensors
    with torch.no_grad():
        return float((model(x).argmax(dim=1) == y).double().mean())


def train(
    network: Network, data: Any, epochs: int = EPOCHS, on_epoch: Callable[[], object] = lambda: None
) -> Run:
    """Train, and keep the weights of the epoch that is best in validation."""
    model, opt = start(network)
    accuracies: list[float] = []
    rng = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        learn(model, opt, data[0], rng)
        accuracies.append(accuracy(model, data[1]))
        if accuracies[-1] > max(accuracies[:-1], default=-1.0):
            best = copy.deepcopy(model.state_dict())
        on_epoch()
    model.load_state_dict(best)
    return Run(model, accuracies)


def compare(option: Network, in_loss: dict[str, float], epochs: int = 10) -> tuple[float, Any]:
    """Return how far options and terms of the loss lead apart, in double precision.

    And the microseconds of a batch without penalty, with options, and with terms.
    """
    part, plain = load(torch.float64)[0], Network(option.rule, {})
    ways = [
        (*start(network, torch.float64), part, torch.Generator().manual_seed(0))
        for network in (plain, option, plain)
    ]
    seconds = np.zeros((epochs, 3))
    for epoch in range(epochs):
        for way, arguments in enumerate(ways):
            began = perf_counter()
            learn(*arguments, **(in_loss if way == 2 else {}))
            seconds[epoch, way] = perf_counter() - began
    _, ours, theirs = (nn.utils.parameters_to_vector(way[0].parameters()) for way in ways)
    difference = (ours - theirs).abs().max().item()
    return difference, np.median(seconds, axis=0) * 1e6 * BATCH_SIZE / len(part)


def save_plot(path: Path, runs: dict[str, Run]) -> None:
    """Draw the accuracy in validation, and how small the weights are, as PNG."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    curves, sizes = figure.subplots(1, 2)
    for name, run in runs.items():
        curves.plot(range(1, len(run.accuracies) + 1), run.accuracies, label=name)
        ordered = np.sort(np.abs(run.weights).ravel())
        sizes.semilogx(np.maximum(ordered, 1e-6), np.linspace(0, 1, ordered.size), label=name)
    curves.set(xlabel="epoch", ylabel="accuracy in validation", ylim=(0.85, 1))
    sizes.set(
        xlabel="size (1e-6 and less at the left, zeros too)",
        ylabel="share of the weights up to this size",
    )
    curves.legend(fontsize="small")
    figure.savefig(path, format="png", dpi=90)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all networks, and compare options with terms of the loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw curves and weights")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # what suits a network of this size
    data, runs = load(), {}
    with tqdm(total=len(NETWORKS) * options.epochs, unit="epoch", leave=False) as bar:
        for name, network in NETWORKS.items():
            runs[name] = train(network, data, options.epochs, bar.update)
    print(f"{'':18}{'epoch':>7}{'validation':>12}{'test':>8}{'norm':>8}{'zeros':>12}{'< 0.001':>9}")
    for name, run in runs.items():
        zeros = fastopt.sparsity(run.weights)
        print(
            f"{name:18}{1 + int(np.argmax(run.accuracies)):7}{max(run.accuracies):12.4f}"
            f"{accuracy(run.model, data[2]):8.4f}{np.linalg.norm(run.weights):8.2f}"
            f"{zeros.zeros:7}/{zeros.size}{int((np.abs(run.weights) < 1e-3).sum()):9}"
        )
    forgotten = accuracy(runs["dropout"].model, data[1], nn.Module.train)
    print(f"\ndropout in validation without model.eval(): {forgotten:.4f}")

    print(f"\n{'us per batch:':>77}\n{'options':45}{'terms':26}{'differ':>7}  none  opt. terms")
    for option, in_loss in PAIRS:
        difference, times = compare(option, in_loss)
        print(f"{f'{option.rule} {option.penalty}':45}{in_loss!s:26}{difference:7.0e}", end="")
        print("".join(f"{time:6.0f}" for time in times))
    if options.plot:
        save_plot(options.plot, runs)
        print(f"\nsaved {options.plot}")


if __name__ == "__main__":
    main()
