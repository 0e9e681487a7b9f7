"""Other libraries that take the same steps, measured where they are installed.

Each library has a module here, which says which rules it has and starts them. The libraries
themselves are imported when they are started.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import partial

from fastopt.bench.machine import installed
from fastopt.bench.peers import numba_steps, optax_steps, thinc_steps, torch_steps
from fastopt.bench.peers.opponent import Array, Opponent
from fastopt.bench.rules import Rule


@dataclass(frozen=True)
class Peer:
    """A way of a library to take steps."""

    name: str
    package: str
    rules: Set[str]
    start: Callable[[Rule, list[Array], list[Array], int], Opponent]
    """Takes the rule, parameters to copy, gradients to share, and the number of threads."""
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
    )
}
