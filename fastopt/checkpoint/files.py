"""The two formats of a checkpoint, and the seal that shows whether a file is whole.

Both hold named arrays. The seal is a line of text, in an .npz file the comment of the archive, in a
.safetensors file the entry ``fastopt`` of its metadata::

    fastopt checkpoint 1 sha256 0123...

It has the version of the format, and the checksum of all bytes of the file but the 64 digits of the
checksum itself. So no byte can change unseen.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

VERSION = 1
DIGITS = 64
UNSEALED = f"fastopt checkpoint {VERSION} sha256 {'0' * DIGITS}"
SEAL = re.compile(rb"fastopt checkpoint (\d{1,9}) sha256 ([0-9a-f]{64})")
MAX_HEADER = 100_000_000  # of a .safetensors file, as the package has it
BLOCK = 1 << 20


class Source(NamedTuple):
    """A file, and the function that reads it: what every message begins with."""

    function: str
    path: str

    def error(self, why: str) -> ValueError:
        return ValueError(f"{self.function}: {self.path!r} {why}")

    def damaged(self, why: object) -> ValueError:
        return self.error(f"is a damaged checkpoint: {why}")


class Seal(NamedTuple):
    """What the seal of a file says, and the position of its checksum."""

    version: int
    checksum: bytes
    position: int


def choose_format(path: str) -> str:
    """Return the format for a file of this name, "npz" or "safetensors"."""
    if path.lower().endswith(".npz"):
        return "npz"
    try:
        import safetensors.numpy  # noqa: F401, PLC0415 - an optional package
    except ImportError as missing:
        if not path.lower().endswith(".safetensors"):
            return "npz"
        raise ImportError(
            f"save: {path!r} needs the package safetensors (pip install 'fastopt[safetensors]'); "
            "a name that ends in .npz does not"
        ) from missing
    return "safetensors"


def write_arrays(path: str, arrays: Arrays, file_format: str) -> None:
    """Write `arrays` to `path` and seal the file."""
    (_write_npz if file_format == "npz" else _write_safetensors)(path, arrays)
    with open(path, "r+b") as file:
        seal = _find_seal(file)
        if seal is None:
            raise RuntimeError(f"save: the seal of a {file_format} file is not where it should be")
        checksum = _checksum(file, seal.position)
        file.seek(seal.position)
        file.write(checksum)


def read_arrays(source: Source) -> Arrays:
    """Return the arrays in a file; ValueError if it is no checkpoint or not whole."""
    if os.path.isdir(source.path):
        raise source.error("is a folder, not a checkpoint")
    if os.path.exists(source.path) and not os.path.isfile(source.path):
        raise source.error("is no regular file, so no checkpoint")
    while True:
        with open(source.path, "rb") as file:
            _check_seal(file, source)
            if _is_zip(file):
                return _read_npz(file, source)
            found = _read_safetensors(source)
            # The package opened the file a second time. If another one was put in its place in
            # between, what was read is not what was checked.
            if os.path.samestat(os.fstat(file.fileno()), os.stat(source.path)):
                break
    if isinstance(found, Exception):
        raise source.damaged(found)
    return found


def _write_npz(path: str, arrays: Arrays) -> None:
    """Write what ``np.savez`` does, with any names and the seal; same arrays, same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = UNSEALED.encode("ascii")
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _read_npz(file: BinaryIO, source: Source) -> Arrays:
    arrays = {}
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    array = np.lib.format.read_array(member, allow_pickle=False)
                native = array.dtype.newbyteorder("=")
                arrays[name.removesuffix(".npy")] = array.astype(native, copy=False)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a file with a forged seal can bring about
        raise source.damaged(error) from error
    return arrays


def _write_safetensors(path: str, arrays: Arrays) -> None:
    from safetensors import SafetensorError  # noqa: PLC0415 - an optional package
    from safetensors.numpy import save_file  # noqa: PLC0415

    try:
        save_file(arrays, path, metadata={"fastopt": UNSEALED})
    except SafetensorError as error:  # it has the number of an OSError in its text alone
        number = re.search(r"(?:os error|code:) (\d+)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), path) from error


def _read_safetensors(source: Source) -> Arrays | Exception:
    """Return the arrays, or why there are none."""
    try:
        from safetensors import SafetensorError  # noqa: PLC0415 - an optional package
        from safetensors.numpy import load_file  # noqa: PLC0415
    except ImportError as missing:
        raise ImportError(
            f"{source.function}: {source.path!r} is a .safetensors file; to read it takes the "
            "package safetensors (pip install 'fastopt[safetensors]')"
        ) from missing
    try:
        found = load_file(source.path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # forged, or not ours
        return error
    return {name: np.require(array, requirements=["C", "A", "W"]) for name, array in found.items()}


def _is_zip(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(2) == b"PK"


def _find_seal(file: BinaryIO) -> Seal | None:
    size = file.seek(0, os.SEEK_END)
    if _is_zip(file):
        begin = max(0, size - len(UNSEALED) - 9)  # a version may have more digits
        file.seek(begin)
        found = re.search(SEAL.pattern + rb"\Z", file.read())
    else:
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        begin = 8
        found = SEAL.search(file.read(length)) if length <= min(size - 8, MAX_HEADER) else None
    return found and Seal(int(found[1]), found[2], begin + found.start(2))


def _check_seal(file: BinaryIO, source: Source) -> None:
    seal = _find_seal(file)
    if seal is None:
        raise source.error("is no checkpoint of fastopt, or it was cut short")
    if seal.version != VERSION:
        other = f"has version {seal.version} of the format"
        raise source.error(f"{other}; this fastopt reads version {VERSION}")
    if _checksum(file, seal.position) != seal.checksum:
        raise source.damaged("its checksum differs from its bytes")


def _checksum(file: BinaryIO, position: int) -> bytes:
    """Return the SHA-256 of all of the file but the digits at `position`."""
    total = hashlib.sha256()
    size = file.seek(0, os.SEEK_END)
    for begin, end in ((0, position), (position + DIGITS, size)):
        file.seek(begin)
        for at in range(begin, end, BLOCK):
            total.update(file.read(min(BLOCK, end - at)))
    return total.hexdigest().encode("ascii")
