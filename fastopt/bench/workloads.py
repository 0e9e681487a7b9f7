"""The arrays that are measured: the parameters of a step, or the activations of dropout.

Parameters are one array of some size, or the list of a network. Activations are one array.

All arrays are float32. Values are drawn from the standard normal distribution, by a seed, so that
every contender starts from the same ones.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Arrays = Any
"""One array, or a list of arrays."""

MASK_SEED = 2
ITEMSIZE = np.dtype(np.float32).itemsize

DROPPED = 0.25
"""The share that masks and dropout drop: one that no library has to round."""


@dataclass(frozen=True)
class Workload:
    """Shapes of parameters."""

    name: str
    shapes: tuple[Shape, ...]

    @property
    def elements(self) -> int:
        """The number of parameters."""
        return sum(map(prod, self.shapes))

    @property
    def is_one_array(self) -> bool:
        """Whether a step gets the array itself; else it gets a list of arrays."""
        return len(self.shapes) == 1

    def zeros(self) -> Arrays:
        """Return arrays of zeros that own their memory.

        ``np.zeros`` would not do: its pages share one page of zeros until they are written, and
        reading them would cost no memory traffic.
        """
        arrays = [np.full(shape, 0, np.float32) for shape in self.shapes]
        return arrays[0] if self.is_one_array else arrays

    def normal(self, seed: int) -> Arrays:
        """Return arrays of normally distributed values."""
        rng = np.random.default_rng(seed)
        arrays = [rng.standard_normal(shape, np.float32) for shape in self.shapes]
        return arrays[0] if self.is_one_array else arrays


def arrays_of(arrays: Arrays) -> list[Any]:
    """Return one array in a list, too."""
    return arrays if isinstance(arrays, list) else [arrays]


def one_array(elements: int) -> Workload:
    """Return the workload of one array."""
    return Workload(f"{elements:,}", ((elements,),))


def resnet50_shapes() -> tuple[Shape, ...]:
    """Return the parameters of ResNet-50 (He et al. 2015, table 1), as torchvision orders them."""
    convolutions = [(3, 64, 7)]  # channels in, channels out, side of the kernel
    channels = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            convolutions += [(channels, width, 1), (width, width, 3), (width, 4 * width, 1)]
            if block == 0:  # the shortcut changes the number of channels
                convolutions.append((channels, 4 * width, 1))
            channels = 4 * width
    shapes: list[Shape] = []
    for channels_in, channels_out, side in convolutions:
        shapes.append((channels_out, channels_in, side, side))
        shapes += [(channels_out,)] * 2  # the batch normalisation that follows
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
    """Return the workload that `text` names: a network, or a number of elements."""
    if text in NETWORKS:
        return NETWORKS[text]
    digits = text.replace(",", "").replace("_", "")
    if not digits.isdecimal() or int(digits) == 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number of parameters nor {', '.join(NETWORKS)}"
        )
    return one_array(int(digits))
