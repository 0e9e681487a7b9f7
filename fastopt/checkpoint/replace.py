"""Putting a file in place of another so that at any moment there is the one or the other."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress


def replace_file(path: str, write: Callable[[str], None]) -> None:
    """Let `write` make a file somewhere else, then move it to `path`.

    It is made in a folder of its own beside `path`, ``.NAME.RANDOM.tmp``, which is removed in the
    end, whatever happens. Only a process that is killed leaves it behind, and nothing in its way.
    """
    target = os.path.realpath(path)  # a link stays, and what it points to is replaced
    folder, name = os.path.split(target)
    mode = _check_target(path, target, folder)
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".{name[:50]}.", suffix=".tmp", dir=folder, ignore_cleanup_errors=True
        ) as scratch:
            made = os.path.join(scratch, "checkpoint")
            with open(made, "xb") as file:  # a new file has the permissions of any new file
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode) if mode is None else mode
            write(made)
            with open(made, "r+b") as file:
                os.chmod(made, mode)
                os.fsync(file.fileno())
            os.replace(made, target)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, f"save: {os.strerror(error.errno)}", path) from error
    _sync_folder(folder)


def _check_target(path: str, target: str, folder: str) -> int | None:
    """Return the permissions of the file that is there."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "save: there is no such folder to write to", path)
    if not os.path.exists(target):
        return None
    if not os.path.isfile(target):
        raise ValueError(f"save: {path!r} is no regular file, and is not replaced by one")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "save: the file there is write-protected", path)
    return stat.S_IMODE(os.stat(target).st_mode) & 0o777


def _sync_folder(folder: str) -> None:
    with suppress(OSError):  # not every system opens folders; the file itself is safe by now
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
