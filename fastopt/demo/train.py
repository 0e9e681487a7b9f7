"""The training loop, run with the kernels and with the reference side by side.

Both runs start from the same weights and see the same batches. They take turns, an epoch each, so
that whatever else the machine does slows down both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

import fastopt
from fastopt.demo.data import Dataset, Images
from fastopt.demo.network import (
    INPUTS_AXIS,
    WEIGHTS,
    Dropout,
    Params,
    accuracy,
    backward,
    init_params,
)

OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop")


@dataclass
class Run:
    """A network in training."""

    step: Callable[..., None]
    """The step of an optimizer, say :func:`fastopt.adam_step`."""
    hyperparameters: Mapping[str, Any]
    """Its keyword arguments."""
    state: Any
    params: Params
    dropout: Dropout | None = None
    """That of the next batch."""
    limit_norms: Callable[[Params], None] | None = None
    """What is done to the weights after every step, say :func:`fastopt.max_norm`."""
    losses: list[float] = field(default_factory=list)
    """The mean loss over the training images, an entry an epoch, taken as the weights change."""
    accuracies: list[float] = field(default_factory=list)
    """The share of the test images that are classified rightly, after every epoch."""
    seconds: float = 0.0
    """Spent on all of the training, the test after every epoch included."""
    optimizer_seconds: float = 0.0
    """Spent inside `step` and `limit_norms`."""

    def __post_init__(self) -> None:
        self._grads = {name: np.empty_like(array) for name, array in self.params.items()}

    def train_epoch(
        self,
        dataset: Dataset,
        batches: list[npt.NDArray[np.intp]],
        on_batch: Callable[[], object] = lambda: None,
    ) -> None:
        """Take one step for each of `batches`, which index the training images, and test."""
        epoch_start = perf_counter()
        loss_sum = 0.0
        for batch in batches:
            loss_sum += len(batch) * self._train_batch(dataset.train, batch)
            on_batch()
        self.losses.append(loss_sum / sum(map(len, batches)))
        self.accuracies.append(accuracy(self.params, dataset.test.pixels, dataset.test.labels))
        self.seconds += perf_counter() - epoch_start

    def _train_batch(self, images: Images, batch: npt.NDArray[np.intp]) -> float:
        pixels, labels = images.pixels[batch], images.labels[batch]
        loss = backward(self.params, self._grads, pixels, labels, self.dropout)
        if self.dropout:
            self.dropout.offset += 1
        step_start = perf_counter()
        self.update(self._grads)
        self.optimizer_seconds += perf_counter() - step_start
        return loss

    def update(self, grads: Params) -> None:
        """Change the parameters by the gradients of one batch."""
        self.step(self.params, grads, self.state, **self.hyperparameters)
        if self.limit_norms:
            self.limit_norms({name: self.params[name] for name in WEIGHTS})


def weights_only(penalty: float) -> dict[str, float]:
    """Return `penalty` for the weights and none for the biases, as an option of a step."""
    return {"W1": penalty, "b1": 0.0, "W2": penalty, "b2": 0.0}


def start_run(
    library: Any,
    optimizer: str,
    hyperparameters: Mapping[str, Any],
    params: Params,
    *,
    seed: int = 0,
    dropout: float = 0.0,
    max_norm: float | None = None,
) -> Run:
    """Start from a copy of `params` with functions of `library`: of `fastopt` or its `reference`.

    The rest is as in :func:`train`.
    """
    params = {name: array.copy() for name, array in params.items()}
    init = getattr(library, f"{optimizer}_init", None)  # sgd has no state
    state = init(params) if init else None
    run = Run(getattr(library, f"{optimizer}_step"), hyperparameters, state, params)
    if dropout:
        run.dropout = Dropout(library, dropout, seed % 2**64)  # the key of the masks has 64 bits
    if max_norm is not None:
        run.limit_norms = partial(library.max_norm, limit=max_norm, axis=INPUTS_AXIS)
    return run


def train(
    dataset: Dataset,
    optimizer: str,
    hyperparameters: Mapping[str, Any],
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    dropout: float = 0.0,
    max_norm: float | None = None,
    on_batch: Callable[[], object] = lambda: None,
    on_epoch: Callable[[int, Run], object] = lambda epoch, run: None,
) -> tuple[Run, Run]:
    """Train a network with the kernels, and the same one with the reference.

    Parameters
    ----------
    dataset : Dataset
        What to learn.
    optimizer : str
        One of `OPTIMIZERS`.
    hyperparameters : mapping
        Keyword arguments of the optimizer's step.
    epochs, batch_size : int, >= 1
        How often to go through the training images, and how many to take for one step. The last
        step of an epoch takes what is left.
    seed : int, >= 0
        Of the initial weights, of the order of the images and of the masks of dropout.
    dropout : float, 0 <= dropout < 1
        The share of the hidden layer that is dropped in training, a mask for every batch.
    max_norm : float, > 0, optional
        The greatest norm that the incoming weights of a unit may have after a step.
    on_batch : callable, optional
        Called without arguments after every step of either run.
    on_epoch : callable, optional
        Called with the number of the epoch, from 1, and the run of the kernels, once both runs
        have finished the epoch.

    Returns
    -------
    tuple of two Run
        With the kernels, with the reference.
    """
    rng = np.random.default_rng(seed)
    params = init_params(rng)

    def start(library: Any) -> Run:
        return start_run(
            library,
            optimizer,
            hyperparameters,
            params,
            seed=seed,
            dropout=dropout,
            max_norm=max_norm,
        )

    kernels, reference = start(fastopt), start(fastopt.reference)
    # A network that diverges shows it in its loss; warnings would only break the progress bar.
    with np.errstate(over="ignore", invalid="ignore"):
        for library in (fastopt, fastopt.reference):  # threads start before the clock does
            start(library).train_epoch(dataset, [np.arange(len(dataset.train))[:batch_size]])
        for epoch in range(1, epochs + 1):
            order = rng.permutation(len(dataset.train))
            batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
            for run in (kernels, reference):
                run.train_epoch(dataset, batches, on_batch)
            on_epoch(epoch, kernels)
    return kernels, reference


def differing_params(kernels: Run, reference: Run) -> list[str]:
    """Name the parameters that are not the same in both runs, bit for bit (NaNs compare equal)."""
    return [
        name
        for name, array in kernels.params.items()
        if not _identical(array, reference.params[name])
    ]


def _identical(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bool:
    # As integers, or 0.0 would equal -0.0.
    same_bits = a.view(np.uint32) == b.view(np.uint32)
    return bool(np.all(same_bits | (np.isnan(a) & np.isnan(b))))
