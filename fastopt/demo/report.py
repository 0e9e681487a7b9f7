"""What the two runs came to: a table, and the curves of loss and accuracy."""

from __future__ import annotations

from pathlib import Path

import fastopt
from fastopt._command import new_figure, save_figure
from fastopt.demo.network import WEIGHTS
from fastopt.demo.train import Run, differing_params


def summarize(kernels: Run, reference: Run) -> str:
    """Return the table of accuracy, times and sparsity of the two runs.

    The ratio is the time of the kernels over the time of the reference. Sparsity is the share of
    parameters that are exactly zero.
    """
    runs = (kernels, reference)
    sparsities = [fastopt.sparsity(run.params) for run in runs]

    def shares(label: str, ours: float, theirs: float) -> str:
        return f"{label:20}{ours:>10.4f}{theirs:>12.4f}"

    def seconds(label: str, ours: float, theirs: float) -> str:
        return f"{label:20}{ours:>10.3f}{theirs:>12.3f}{ours / theirs:>8.2f}"

    return "\n".join(
        [
            f"{'':20}{'kernels':>10}{'reference':>12}{'ratio':>8}",
            shares("test accuracy", *(run.accuracies[-1] for run in runs)),
            seconds("seconds in total", *(run.seconds for run in runs)),
            seconds("  in the optimizer", *(run.optimizer_seconds for run in runs)),
            shares("sparsity", *(one.fraction for one in sparsities)),
            *(
                shares(
                    f"  of {name}",
                    *(one.entries[f"params['{name}']"].fraction for one in sparsities),
                )
                for name in WEIGHTS
            ),
            f"{'identical weights':20}{'no' if differing_params(*runs) else 'yes':>10}",
        ]
    )


def save_plot(path: Path, run: Run, title: str) -> None:
    """Draw the loss and the test accuracy of `run` after every epoch, and save them as PNG."""
    figure = new_figure("demo", (9, 3.6))
    curves = {"training loss (cross-entropy)": run.losses, "test accuracy": run.accuracies}
    panels = figure.subplots(1, 2, sharex=True)
    for axes, (label, values) in zip(panels, curves.items(), strict=True):
        axes.plot(range(1, len(values) + 1), values, marker="o", markersize=4)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    save_figure(figure, path)
