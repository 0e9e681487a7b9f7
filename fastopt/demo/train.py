"""The training loop, run with the kernels and with the reference side by side.

Both runs start from the same weights and see the same batches. They take turns, an epoch each, so
that whatever else the machine does slows down both.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

import fastopt
from fastopt.demo import network
from fastopt.demo.data import Dataset
from fastopt.demo.network import WEIGHTS, Array, Params
from fastopt.rules import RULES

STEPS_OF_HESSIAN = 10
"""After so many steps Sophia has a new estimate."""


class Run:
    """A network in training."""

    def __init__(
        self,
        library: Any,
        optimizer: str,
        hyperparameters: Mapping[str, Any],
        params: Params,
        *,
        seed: int = 0,
        dropout: float = 0.0,
        max_norm: float | None = None,
    ) -> None:
        """Start from a copy of `params` with `library`, which is `fastopt` or its `reference`.

        `dropout` is the share of the hidden layer that is dropped in training, with a mask for
        every batch; `max_norm` the greatest norm of the incoming weights of a unit after a step.
        """
        rule = RULES[optimizer]
        self._optimizer, self._rng = optimizer, np.random.default_rng(seed)
        self.params = {name: array.copy() for name, array in params.items()}
        self._grads = {name: np.empty_like(array) for name, array in params.items()}
        self.state: Any = rule.init(self.params) if rule.init else None
        self._step = partial(
            getattr(library, rule.step.__name__), **rule.of_any_shape, **hyperparameters
        )
        # The key of the masks has 64 bits.
        self._dropout = network.Dropout(library, dropout, seed % 2**64) if dropout else None
        self._library, self._max_norm = library, max_norm
        self.losses: list[float] = []
        """The mean loss over the training images, an entry an epoch, as the weights change."""
        self.accuracies: list[float] = []
        """The share of the test images that are classified rightly, after every epoch."""
        self.seconds = self.optimizer_seconds = 0.0
        """Spent on training and tests; and, of these, inside :meth:`update`."""

    def train_epoch(
        self, dataset: Dataset, batches: list[Array], on_batch: Callable[[], object]
    ) -> None:
        """Take one step for each of `batches`, which index the training images, and test."""
        epoch_start = perf_counter()
        losses = []
        for batch in batches:
            pixels, labels = dataset.train.pixels[batch], dataset.train.labels[batch]
            losses.append(network.backward(self.params, self._grads, pixels, labels, self._dropout))
            if self._dropout:
                self._dropout.offset += 1
            if self._optimizer == "sophia" and self.state.step % STEPS_OF_HESSIAN == 0:
                self._estimate_hessian(pixels)
            step_start = perf_counter()
            self.update(self._grads)
            self.optimizer_seconds += perf_counter() - step_start
            on_batch()
        self.losses.append(float(np.average(losses, weights=[*map(len, batches)])))
        test = dataset.test
        self.accuracies.append(network.accuracy(self.evaluated(), test.pixels, test.labels))
        self.seconds += perf_counter() - epoch_start

    def update(self, grads: Params) -> None:
        """Change the parameters by the gradients of one batch."""
        self._step(self.params, grads, self.state)
        if self._max_norm is not None:
            weights = {name: self.params[name] for name in WEIGHTS}
            self._library.max_norm(weights, limit=self._max_norm, axis=network.INPUTS_AXIS)

    def evaluated(self) -> Params:
        """Return the parameters that are to be used: of Schedule-Free rules their mean."""
        if not self._optimizer.startswith("schedulefree"):
            return self.params
        signature = inspect.signature(RULES[self._optimizer].step).parameters
        name = "beta1" if "beta1" in signature else "momentum"
        away = np.float32(1 - 1 / self._step.keywords.get(name, signature[name].default))
        return {key: p + away * (self.state.z[key] - p) for key, p in self.params.items()}

    def _estimate_hessian(self, pixels: Array) -> None:
        """Give Sophia an estimate, by gradients for labels that the network draws."""
        of_drawn = {name: np.empty_like(g) for name, g in self._grads.items()}
        labels = network.drawn_labels(self.params, pixels, self._rng)
        network.backward(self.params, of_drawn, pixels, labels)
        estimate = {name: np.float32(len(pixels)) * g * g for name, g in of_drawn.items()}
        fastopt.sophia_update_hessian(self.state, estimate)


def train(
    dataset: Dataset,
    optimizer: str,
    hyperparameters: Mapping[str, Any],
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    on_batch: Callable[[], object] = lambda: None,
    on_epoch: Callable[[int, Run], object] = lambda epoch, run: None,
    **regularisation: Any,
) -> tuple[Run, Run]:
    """Train a network with the kernels, and the same one with the reference: return both runs.

    An epoch goes through the training images once, in steps of `batch_size`; the last step takes
    what is left. `seed` is that of the initial weights, of the order of the images and of the masks
    of dropout. `hyperparameters` are keyword arguments of the step of `optimizer`.

    `on_batch` is called after every step of either run, `on_epoch` with the number of the epoch,
    from 1, and the run of the kernels once both runs have finished it.
    """
    rng = np.random.default_rng(seed)
    params = network.init_params(rng)
    start = partial(Run, optimizer=optimizer, hyperparameters=hyperparameters, params=params)
    libraries = (fastopt, fastopt.reference)
    # A network that diverges shows it in its loss; warnings would only break the progress bar.
    with np.errstate(over="ignore", invalid="ignore"):
        for library in libraries:  # threads start before the clock does
            first = np.arange(len(dataset.train))[:batch_size]
            start(library, seed=seed, **regularisation).train_epoch(dataset, [first], int)
        kernels, reference = (start(library, seed=seed, **regularisation) for library in libraries)
        for epoch in range(1, epochs + 1):
            order = rng.permutation(len(dataset.train))
            batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
            kernels.train_epoch(dataset, batches, on_batch)
            reference.train_epoch(dataset, batches, on_batch)
            on_epoch(epoch, kernels)
    return kernels, reference


def differing_params(kernels: Run, reference: Run) -> list[str]:
    """Name the parameters that are not the same in both runs, bit for bit (NaNs compare equal)."""

    def bits(array: Array) -> bytes:
        return np.where(np.isnan(array), np.float32(np.nan), array).tobytes()

    pairs = zip(kernels.params.items(), reference.params.values(), strict=True)
    return [name for (name, ours), theirs in pairs if bits(ours) != bits(theirs)]
