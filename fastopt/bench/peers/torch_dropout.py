"""``torch.nn.functional.dropout``, which returns a new tensor."""

from __future__ import annotations

import importlib
from typing import Any

from fastopt.bench.dropout import DropoutRow
from fastopt.bench.measure import Contender
from fastopt.bench.peers.opponent import Array, Opponent

ROWS = frozenset({"dropout"})


def start(row: DropoutRow, arrays: list[Array], grads: list[Array], threads: int) -> Opponent:
    """Start dropout of a tensor that shares the memory of the array."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(threads)
    torch.manual_seed(row.seed)
    (x,) = map(torch.from_numpy, arrays)

    def step() -> Any:
        return torch.nn.functional.dropout(x, row.p, training=True)

    return Opponent(Contender(step), lambda: [step().numpy()])
