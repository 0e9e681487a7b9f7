"""What the two runs came to, as a table."""

from __future__ import annotations

import fastopt
from fastopt.demo.network import WEIGHTS
from fastopt.demo.train import Run, differing_params


def summarize(kernels: Run, reference: Run) -> str:
    """Return the table of accuracy, times and sparsity of the two runs.

    The ratio is the time of the kernels over the time of the reference. Sparsity is the share of
    parameters that are exactly zero.
    """
    ours, theirs = fastopt.sparsity(kernels.params), fastopt.sparsity(reference.params)
    identical = "no" if differing_params(kernels, reference) else "yes"

    def shares(label: str, ours: float, theirs: float) -> str:
        return f"{label:20}{ours:>10.4f}{theirs:>12.4f}"

    def seconds(label: str, ours: float, theirs: float) -> str:
        return f"{label:20}{ours:>10.3f}{theirs:>12.3f}{ours / theirs:>8.2f}"

    def sparsity(name: str) -> str:
        entry = f"params[{name!r}]"
        return shares(f"  of {name}", ours.entries[entry].fraction, theirs.entries[entry].fraction)

    return "\n".join(
        [
            f"{'':20}{'kernels':>10}{'reference':>12}{'ratio':>8}",
            shares("test accuracy", kernels.accuracies[-1], reference.accuracies[-1]),
            seconds("seconds in total", kernels.seconds, reference.seconds),
            seconds("  in the optimizer", kernels.optimizer_seconds, reference.optimizer_seconds),
            shares("sparsity", ours.fraction, theirs.fraction),
            *map(sparsity, WEIGHTS),
            f"{'identical weights':20}{identical:>10}",
        ]
    )
