"""Train word vectors on the text that every Python has, and compare both versions.

python -m word_vectors
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from word_vectors import in_cython, in_numpy
from word_vectors.model import Model
from word_vectors.text import read, samples

LR = 0.003
SHOWN = ["list", "import", "except", "float", "async", "lambda"]


def compare(model: Model, rows: Any) -> tuple[float, float]:
    """Train copies of a model both ways; return the microseconds that an update of a row takes."""
    updates = rows.shape[0] * rows.shape[1]
    times, models = [], []
    for module in (in_cython, in_numpy):
        models.append(copy.deepcopy(model))
        begun = perf_counter()
        module.train(models[-1], rows, LR)
        times.append((perf_counter() - begun) / updates * 1e6)
    ours, theirs = models
    for table, other in ((ours.words, theirs.words), (ours.contexts, theirs.contexts)):
        if not all(
            np.array_equal(getattr(table, name), getattr(other, name))
            for name in ("vectors", "moments", "counts")
        ):
            raise AssertionError("the two versions differ")
    return times[0], times[1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    chosen = parser.parse_args(arguments)
    text, rng = read(), np.random.default_rng(0)
    print(f"{len(text.numbers):,} words of the language reference, {len(text.words):,} different")
    model = Model.start(len(text.words), rng)
    cython, numpy = compare(model, samples(text, rng)[:2000])
    print(f"an update: {cython:.2f} us in Cython, {numpy:.1f} us in NumPy, with the same bits")
    progress = tqdm(range(chosen.epochs), unit="epoch")
    for _ in progress:
        progress.set_postfix(loss=f"{in_cython.train(model, samples(text, rng), LR):.4f}")
    for word in SHOWN:
        near = ", ".join(text.words[i] for i in model.nearest(text.words.index(word)))
        print(f"{word}: {near}")


if __name__ == "__main__":
    main()
