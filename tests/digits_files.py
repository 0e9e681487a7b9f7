"""Files like those of MNIST, with few images of easy classes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def striped_images(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise, with a bright stripe whose place tells the class."""
    images = rng.integers(0, 50, (len(labels), 28, 28))
    images[np.arange(len(labels)), 2 * labels + 3] = 255
    return images


def write_files(folder: Path) -> None:
    """Write 70 training images and 20 test images."""
    rng = np.random.default_rng(1)
    for images_name, labels_name, count in (
        (TRAIN_IMAGES, TRAIN_LABELS, 70),
        (TEST_IMAGES, TEST_LABELS, 20),
    ):
        labels = np.arange(count) % 10
        (folder / images_name).write_bytes(idx(striped_images(labels, rng)))
        (folder / labels_name).write_bytes(idx(labels))
