"""Other libraries that do the same, measured where they are installed.

Each has a module here, which says which rows it has and starts them. The libraries
themselves are imported when they are started.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastopt.bench.machine import installed
from fastopt.bench.peers import (
    numba_steps,
    numpy_dropout,
    optax_steps,
    thinc_steps,
    torch_dropout,
    torch_steps,
)
from fastopt.bench.peers.opponent import Array, Opponent


@dataclass(frozen=True)
class Peer:
    """A way of a library to do what a row measures."""

    name: str
    package: str
    rows: Set[str]
    """The names of those that it has."""
    start: Callable[[Any, list[Array], list[Array], int], Opponent]
    """Takes the row, parameters to copy, gradients to share, and the number of threads.

    For dropout: the row, the activations to read, nothing, and the number of threads.
    """
    threads_are_fixed: bool = False
    """Whether it always uses all processors."""

    @property
    def is_installed(self) -> bool:
        """Whether the library is there."""
        return installed(self.package) is not None


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "torch-fused",
            "torch",
            torch_steps.FUSED_RULES,
            partial(torch_steps.start, "fused"),
        ),
        Peer(
            "torch-foreach",
            "torch",
            torch_steps.FOREACH_RULES,
            partial(torch_steps.start, "foreach"),
        ),
        Peer("thinc", "thinc", thinc_steps.RULES, thinc_steps.start),
        Peer("numba", "numba", numba_steps.RULES, numba_steps.start),
        Peer("optax", "optax", optax_steps.RULES, optax_steps.start, threads_are_fixed=True),
        Peer("torch", "torch", torch_dropout.ROWS, torch_dropout.start),
        Peer("numpy", "numpy", numpy_dropout.ROWS, numpy_dropout.start),
    )
}
