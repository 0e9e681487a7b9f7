"""The arrays that are measured: the parameters of a step, or the activations of dropout.

Parameters are one array of some size, or the list of a network. Activations are one array. All are
float32, normally distributed, and drawn by a seed, so that every contender starts from the same.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

Shapes = tuple[tuple[int, ...], ...]
Arrays = Any
"""One array, or a list of arrays."""


@dataclass(frozen=True)
class Workload:
    """Shapes of parameters."""

    name: str
    shapes: Shapes

    @property
    def elements(self) -> int:
        return sum(map(prod, self.shapes))

    @property
    def is_one_array(self) -> bool:
        """Whether a step gets the array itself; else it gets a list of arrays."""
        return len(self.shapes) == 1

    def normal(self, seed: int) -> Arrays:
        rng = np.random.default_rng(seed)
        arrays = [rng.standard_normal(shape, np.float32) for shape in self.shapes]
        return arrays[0] if self.is_one_array else arrays


def arrays_of(arrays: Arrays) -> list[Any]:
    """Return one array in a list, too."""
    return arrays if isinstance(arrays, list) else [arrays]


def one_array(*shape: int) -> Workload:
    return Workload("x".join(f"{length:,}" for length in shape), (shape,))


def resnet50_shapes() -> Shapes:
    """Return the parameters of ResNet-50 (He et al. 2015, table 1), as torchvision orders them."""

    def convolution(channels_in: int, channels_out: int, side: int) -> Shapes:
        normalisation = (channels_out,)  # of the batch: a scale and a shift
        return ((channels_out, channels_in, side, side), normalisation, normalisation)

    shapes, channels = convolution(3, 64, 7), 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += convolution(channels, width, 1) + convolution(width, width, 3)
            shapes += convolution(width, 4 * width, 1)
            if block == 0:  # the shortcut changes the number of channels
                shapes += convolution(channels, 4 * width, 1)
            channels = 4 * width
    return (*shapes, (1000, channels), (1000,))


NETWORKS = {
    "thousand": Workload("thousand", ((10,),) * 1000),
    "mlp": Workload("mlp", ((784, 128), (128,), (128, 10), (10,))),
    "resnet50": Workload("resnet50", resnet50_shapes()),
}
"""Lists of arrays. ``thousand`` is no network: it shows what one more small array costs."""

SIZES = (100, 1_000, 10_000, 65_536, 1_000_000, 10_000_000, 50_000_000)
DEFAULT = (*map(one_array, SIZES), *NETWORKS.values())
QUICK = (*map(one_array, (100, 65_536, 1_000_000)), NETWORKS["thousand"], NETWORKS["mlp"])
ACTIVATIONS = tuple(map(one_array, (65_536, 1_000_000, 10_000_000)))
"""Which of these dropout is measured on."""


def parse_workload(text: str) -> Workload:
    """Return the workload that `text` names: a network, a number of elements, or ``30x20``."""
    if text in NETWORKS:
        return NETWORKS[text]
    lengths = text.replace(",", "").replace("_", "").split("x")
    if not all(digits.isdecimal() and int(digits) > 0 for digits in lengths):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number of parameters nor {', '.join(NETWORKS)}"
        )
    return one_array(*map(int, lengths))
