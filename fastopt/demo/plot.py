"""The curves of loss and accuracy, as a picture."""

from __future__ import annotations

from pathlib import Path

from fastopt._command import CommandError, import_extra
from fastopt.demo.train import Run


def save_plot(path: Path, run: Run, title: str) -> None:
    """Draw the loss and the test accuracy of `run` after every epoch, and save them as PNG."""
    # A Figure of its own, without pyplot, draws with Agg: it needs no display and leaves no state.
    figure = import_extra("matplotlib.figure", "demo").Figure(
        figsize=(9, 3.6), layout="constrained"
    )
    epochs = range(1, len(run.losses) + 1)
    panels = figure.subplots(1, 2, sharex=True)
    for axes, values, label in zip(
        panels,
        (run.losses, run.accuracies),
        ("training loss (cross-entropy)", "test accuracy"),
        strict=True,
    ):
        axes.plot(epochs, values, marker="o", markersize=4)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    try:
        figure.savefig(path, format="png", dpi=150)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
