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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Read = Callable[[], NDArray[Any]]
"""Reads one array of a file, as often as it is called while the file is open."""

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


@contextmanager
def open_arrays(source: Source) -> Iterator[dict[str, Read]]:
    """Yield what reads each array of a file; ValueError if it is no checkpoint or not whole."""
    if os.path.isdir(source.path):
        raise source.error("is a folder, not a checkpoint")
    if os.path.exists(source.path) and not os.path.isfile(source.path):
        raise source.error("is no regular file, so no checkpoint")
    while True:
        with open(source.path, "rb") as file:
            _check_seal(file, source)
            if _is_zip(file):
                with _open_npz(file, source) as found:
                    yield found
                return
            with _open_safetensors(source) as found:
                # The package opened the file a second time. If another one was put in its place in
                # between, what it reads is not what was checked.
                if os.path.samestat(os.fstat(file.fileno()), os.stat(source.path)):
                    if isinstance(found, Exception):
                        raise source.damaged(found)
                    yield found
                    return


def _write_npz(path: str, arrays: Arrays) -> None:
    """Write what ``np.savez`` does, with any names and the seal; same arrays, same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = UNSEALED.encode("ascii")
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


@contextmanager
def _open_npz(file: BinaryIO, source: Source) -> Iterator[dict[str, Read]]:
    file.seek(0)
    with _damage(source):
        archive = zipfile.ZipFile(file)
    with archive:
        yield {
            name.removesuffix(".npy"): partial(_read_member, archive, name, source)
            for name in archive.namelist()
        }


def _read_member(archive: zipfile.ZipFile, name: str, source: Source) -> NDArray[Any]:
    with _damage(source), archive.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        return array.astype(array.dtype.newbyteorder("="), copy=False)


@contextmanager
def _damage(source: Source) -> Iterator[None]:
    """Name the file whatever it can bring about with a forged seal."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise source.damaged(error) from error


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


@contextmanager
def _open_safetensors(source: Source) -> Iterator[dict[str, Read] | Exception]:
    """Yield what reads the arrays, or why there are none."""
    try:
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - an optional package
    except ImportError as missing:
        raise ImportError(
            f"{source.function}: {source.path!r} is a .safetensors file; to read it takes the "
            "package safetensors (pip install 'fastopt[safetensors]')"
        ) from missing
    try:
        opened: Any
        try:  # where it need not be mapped: cut short meanwhile, a mapped file crashes who reads it
            opened = safe_open(source.path, framework="numpy", backend="pread")
        except TypeError:  # safetensors before 0.8
            opened = safe_open(source.path, framework="numpy")
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # forged, or not ours
        yield error
        return
    with opened:
        yield {name: partial(_read_tensor, opened, name, source) for name in opened.keys()}  # noqa: SIM118


def _read_tensor(opened: Any, name: str, source: Source) -> NDArray[Any]:
    with _damage(source):
        return np.require(opened.get_tensor(name), requirements=["C", "A", "W"])


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
