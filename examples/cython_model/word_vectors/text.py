"""A text that every Python has, as numbers: its own language reference."""

from __future__ import annotations

import re
from collections import Counter
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import numpy as np


class Text(NamedTuple):
    """The words that occur often enough, the most frequent first, and the text as their numbers."""

    words: list[str]
    numbers: Any


def read(at_least: int = 8) -> Text:
    """Return the text, of which words that are rare are left out."""
    found = re.findall(r"[a-z_]+", " ".join(topics[name] for name in sorted(topics)).lower())
    counts = Counter(found)
    words = [word for word, count in counts.most_common() if count >= at_least]
    number = {word: i for i, word in enumerate(words)}
    return Text(words, np.array([number[word] for word in found if word in number], np.int32))


def samples(text: Text, rng: Any, window: int = 4, negatives: int = 5) -> Any:
    """Return rows of a word, one that stands near it, and others that are drawn.

    Frequent words are left out at random, and drawn less often than they occur (Mikolov et al.
    2013, sections 2.2 and 2.3).
    """
    frequency = np.bincount(text.numbers) / len(text.numbers)
    kept = text.numbers[rng.random(len(text.numbers)) < np.sqrt(1e-3 / frequency[text.numbers])]
    pairs = []
    for distance in range(1, window + 1):
        near = np.stack([kept[:-distance], kept[distance:]], axis=1)
        pairs += [near, near[:, ::-1]]
    pairs = rng.permutation(np.concatenate(pairs))
    share = frequency**0.75 / (frequency**0.75).sum()
    drawn = rng.choice(len(text.words), (len(pairs), negatives), p=share)
    return np.concatenate([pairs, drawn], axis=1, dtype=np.int32)
