"""Draw the curves of all schedules as a picture: docs/schedules.png.

python docs/draw_schedules.py [FILE.png]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import sin
from pathlib import Path

from matplotlib.figure import Figure

from fastopt import schedules as s

STEPS = 1000
CURVES: dict[str, s.Schedule] = {
    "Constant(0.1)": s.Constant(0.1),
    "Linear(0.1, 0.01, steps=800)": s.Linear(0.1, 0.01, steps=800),
    "Polynomial(0.1, steps=800, power=2)": s.Polynomial(0.1, steps=800, power=2),
    "Exponential(0.1, gamma=0.5, steps=200)": s.Exponential(0.1, gamma=0.5, steps=200),
    "Step(0.1, step_size=250, gamma=0.5)": s.Step(0.1, step_size=250, gamma=0.5),
    "MultiStep(0.1, milestones=[500, 750])": s.MultiStep(0.1, milestones=[500, 750]),
    "InverseSqrt(0.1, timescale=100)": s.InverseSqrt(0.1, timescale=100),
    "Cosine(0.1, steps=800)": s.Cosine(0.1, steps=800),
    "CosineRestarts(0.1, steps=150, t_mult=2)": s.CosineRestarts(0.1, steps=150, t_mult=2),
    "OneCycle(0.1, steps=1000)": s.OneCycle(0.1, steps=1000),
    "OneCycle(..., three_phase=True,\nanneal_strategy='linear')": s.OneCycle(
        0.1, steps=1000, three_phase=True, anneal_strategy="linear"
    ),
    "Warmup(Cosine(0.1, steps=800), steps=200)": s.Warmup(s.Cosine(0.1, steps=800), steps=200),
    "Warmup(InverseSqrt(0.1,\ntimescale=200), steps=200)": s.Warmup(
        s.InverseSqrt(0.1, timescale=200), steps=200
    ),
    "Constant(0.1).then(\nLinear(0.05, steps=400), at=500)": s.Constant(0.1).then(
        s.Linear(0.05, steps=400), at=500
    ),
    "CosineRestarts(0.1, steps=200) *\nExponential(1.0, gamma=0.5, steps=400)": (
        s.CosineRestarts(0.1, steps=200) * s.Exponential(1.0, gamma=0.5, steps=400)
    ),
}


def plateau_and_losses() -> tuple[list[float], list[float]]:
    """Return the values that a plateau gives in the course of losses, and these losses."""
    plateau = s.ReduceOnPlateau(0.1, factor=0.5, patience=50)
    values, losses = [], []
    loss = 0.11
    for step in range(STEPS):
        values.append(plateau(step))
        floor = 0.7 * plateau.value  # the smaller the value, the deeper the loss can get
        loss += 0.03 * (floor - loss)
        losses.append(loss + 0.002 * sin(step))
        plateau.update(losses[-1])
    return values, losses


def save_picture(path: Path) -> None:
    """Draw one panel for each curve, and one for the plateau with the losses it goes by."""
    figure = Figure(figsize=(10, 8.5), layout="constrained")
    panels = figure.subplots(4, 4, sharex=True, sharey=True).flat
    steps = range(STEPS)
    for axes, (name, curve) in zip(panels, CURVES.items(), strict=False):
        axes.plot(steps, [curve(step) for step in steps], drawstyle="steps-post")
        axes.set_title(name, size=7, family="monospace")
    values, losses = plateau_and_losses()
    axes = figure.axes[len(CURVES)]
    axes.plot(steps, losses, color="0.75")
    axes.plot(steps, values, drawstyle="steps-post")
    axes.set_title("ReduceOnPlateau(0.1, factor=0.5,\npatience=50); grey: its metric", size=7)
    for axes in figure.axes:
        axes.grid(color="0.92")
        axes.set(xlim=(0, STEPS), ylim=(-0.005, 0.115), yticks=(0, 0.05, 0.1))
    figure.supxlabel("step", size=10)
    figure.savefig(path, format="png", dpi=100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the picture to the file that is named, else beside this program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = Path(__file__).with_name("schedules.png")
    parser.add_argument("file", metavar="FILE.png", type=Path, nargs="?", default=beside)
    path = parser.parse_args(arguments).file
    save_picture(path)
    print(f"saved {path}")


if __name__ == "__main__":
    main()
