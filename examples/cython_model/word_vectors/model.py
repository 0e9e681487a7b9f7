"""What both versions train: vectors with the states of Adam, of which each row counts its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Table:
    """A vector for each word; `m` and `v` are `moments[0]` and `moments[1]`."""

    vectors: Any
    moments: Any
    counts: Any

    @classmethod
    def of(cls, vectors: Any) -> Table:
        return cls(
            vectors,
            np.zeros((2, *vectors.shape), vectors.dtype),
            np.zeros(len(vectors), np.int64),
        )


@dataclass
class Model:
    """Two vectors for each word: as the one in the middle, and as one near another."""

    words: Table
    contexts: Table

    @classmethod
    def start(cls, words: int, rng: Any, length: int = 100) -> Model:
        random = (rng.random((words, length), dtype=np.float32) - 0.5) / length
        return cls(Table.of(random), Table.of(np.zeros_like(random)))

    def nearest(self, word: int, count: int = 5) -> list[int]:
        """Return the words whose vectors have the smallest angles with that of a word."""
        vectors = self.words.vectors / np.linalg.norm(self.words.vectors, axis=1, keepdims=True)
        return [int(i) for i in np.argsort(-(vectors @ vectors[word]))[1 : count + 1]]
