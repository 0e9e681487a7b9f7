"""The same in plain NumPy, with fastopt.adam_step, operation by operation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastopt
from word_vectors.model import Model, Table


def update_row(table: Table, row: int, grad: Any, lr: float) -> None:
    state = fastopt.AdamState(int(table.counts[row]), *table.moments[:, row])
    fastopt.adam_step(table.vectors[row], grad, state, lr=lr)
    table.counts[row] = state.step


def train(model: Model, samples: Any, lr: float) -> float:
    """Learn from all rows of `samples`; return the mean loss."""
    words, contexts = model.words, model.contexts
    loss = 0.0
    for word, *others in samples.tolist():
        vector = words.vectors[word]
        grad = np.zeros_like(vector)
        for place, other in enumerate(others):
            context = contexts.vectors[other]
            score = float(np.cumsum(vector * context)[-1])  # which adds from left to right
            score = score if place == 0 else -score
            loss += math.log1p(math.exp(-score))
            slope = -1 / (1 + math.exp(score))
            error = np.float32(slope if place == 0 else -slope)
            grad += error * context
            update_row(contexts, other, error * vector, lr)
        update_row(words, word, grad, lr)
    return loss / len(samples)
