"""IDX, the file format of MNIST.

A file is four bytes (two zeros, the element type, the number of dimensions), then the dimensions as
big-endian 32-bit integers, then the elements in C order: http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastopt._command import CommandError

UNSIGNED_BYTE = 0x08


def read_idx(folder: Path, name: str, ndim: int) -> npt.NDArray[np.uint8]:
    """Read ``name`` or ``name.gz`` in `folder`, an array of `ndim` dimensions of unsigned bytes.

    Raises
    ------
    CommandError
        If the file is missing, cannot be read, or is not exactly what its header promises.
    """
    path, content = _read(folder, name)
    start = bytes([0, 0, UNSIGNED_BYTE, ndim])
    if content[:4] != start:
        raise CommandError(
            f"{path} is not an IDX file of {ndim}-dimensional bytes: it starts with "
            f"{content[:4].hex() or 'nothing'}, not {start.hex()}"
        )
    header_size = 4 + 4 * ndim
    if len(content) < header_size:
        raise CommandError(f"{path} is damaged: it ends inside of its header")
    shape = struct.unpack(f">{ndim}I", content[4:header_size])
    if len(content) - header_size != math.prod(shape):
        raise CommandError(
            f"{path} is damaged: its header promises {' x '.join(map(str, shape))} bytes, "
            f"{len(content) - header_size} follow"
        )
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


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
