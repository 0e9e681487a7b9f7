"""What the two runs came to, as a table."""

from __future__ import annotations

from fastopt.demo.train import Run, differing_params


def summarize(kernels: Run, reference: Run) -> str:
    """Return the table of accuracy and times of the two runs.

    The ratio is the time of the kernels over the time of the reference.
    """

    identical = "no" if differing_params(kernels, reference) else "yes"

    def seconds(label: str, ours: float, theirs: float) -> str:
        return f"{label:20}{ours:>10.3f}{theirs:>12.3f}{ours / theirs:>8.2f}"

    return "\n".join(
        [
            f"{'':20}{'kernels':>10}{'reference':>12}{'ratio':>8}",
            f"{'test accuracy':20}{kernels.accuracies[-1]:>10.4f}{reference.accuracies[-1]:>12.4f}",
            seconds("seconds in total", kernels.seconds, reference.seconds),
            seconds("  in the optimizer", kernels.optimizer_seconds, reference.optimizer_seconds),
            f"{'identical weights':20}{identical:>10}",
        ]
    )
