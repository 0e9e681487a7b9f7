"""A crash or an error at any moment leaves the old checkpoint or the new one, and nothing else."""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import FORMATS, FakeOptimizer, needs_safetensors, path_for

from fastopt.checkpoint import files, load, read, save

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and permissions of POSIX")
not_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return path_for(request.param, tmp_path)


# Starts a writer for every line that it reads, which saves until it is killed: importing fastopt
# once for all of them is what makes so many kills affordable.
WRITERS = """
import os, sys
import numpy as np
from fastopt.checkpoint import read, save

path = sys.argv[1]
for line in sys.stdin:
    writer = os.fork()
    if writer == 0:
        step = read(path)["extra"]["step"] if os.path.exists(path) else 0
        print(os.getpid(), flush=True)
        while True:
            step += 1
            params = {"w": np.full((300, 100), float(step)), "b": [np.full(step % 50, step)]}
            save(path, params=params, extra={"step": step, "digits": [step] * (step % 30)})
    os.waitpid(writer, 0)
"""


@posix
def test_killed_at_any_moment(path: Path) -> None:
    moments = random.Random(1)
    command = [sys.executable, "-c", WRITERS, str(path)]
    last, saved, kills = 0, 0, 60
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        save(path, params={"w": np.zeros((300, 100)), "b": [np.zeros(0, int)]}, extra={"step": 0})
        for _ in range(kills):
            writers.stdin.write("go\n")
            writers.stdin.flush()
            writer = int(writers.stdout.readline())
            time.sleep(moments.uniform(0, 0.03))
            os.kill(writer, signal.SIGKILL)
            last, before = check_consistent(path), last
            assert last >= before
            saved += last > before
        writers.stdin.close()
    left = [name for name in os.listdir(path.parent) if name != path.name]
    assert all(name.startswith(f".{path.name}.") and name.endswith(".tmp") for name in left)
    assert left, "no kill hit a writer at work"
    assert saved > kills // 4, "hardly anything was written"
    save(path, extra="after")
    assert load(path) == "after"


def check_consistent(path: Path) -> int:
    found = read(path)
    step = found["extra"]["step"]
    assert found["params"]["w"].shape == (300, 100)
    assert (found["params"]["w"] == step).all()
    assert found["params"]["b"][0].tolist() == [step] * (step % 50)
    assert found["extra"].get("digits", []) == [step] * (step % 30)
    return step


@posix
def test_a_reader_beside_a_writer(path: Path) -> None:
    """Whoever reads while another file is put in its place gets the one or the other."""
    save(path, params=np.zeros(1000), extra=0)
    stop = threading.Event()

    def write() -> None:
        step = 0
        while not stop.is_set():
            step += 1
            save(path, params=np.full(1000, float(step)), extra=step)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            found = read(path)
            assert (found["params"] == found["extra"]).all()
    finally:
        stop.set()
        writer.join()
    assert found["extra"] > 0


@posix
@needs_safetensors
def test_the_package_reads_the_file_that_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = path_for("safetensors", tmp_path), tmp_path / "other"
    save(path, extra="old")
    save(other, extra="new")
    real, calls = files._open_safetensors, []

    def open_late(source: files.Source) -> Any:
        calls.append(source)
        if len(calls) == 1:
            os.replace(other, path)
        return real(source)

    monkeypatch.setattr(files, "_open_safetensors", open_late)
    assert load(path) == "new"
    assert len(calls) == 2


@pytest.fixture
def old(path: Path) -> Iterator[Path]:
    """A checkpoint that a failed save must leave as it is."""
    save(path, params={"w": np.ones(3)}, optimizer=FakeOptimizer(1, 1.0), extra="old")
    yield path
    assert load(path) == "old"
    assert os.listdir(path.parent) == [path.name], "something was left behind"


def raiser(error: BaseException) -> Callable[..., Any]:
    def raises(*_: Any, **__: Any) -> None:
        raise error

    return raises


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
STAGES = ["os.fsync", "os.replace", "os.chmod", "fastopt.checkpoint.files._checksum", "write"]


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("stage", STAGES)
def test_an_error_at_any_stage(
    old: Path, monkeypatch: pytest.MonkeyPatch, stage: str, error: BaseException
) -> None:
    if stage == "write":
        is_npz = old.suffix == ".npz"
        stage = "numpy.lib.format.write_array" if is_npz else "safetensors.numpy.save_file"
    with monkeypatch.context() as patch:
        patch.setattr(stage, raiser(error))
        with pytest.raises(type(error)) as caught:
            save(old, params=np.zeros(10))
    if error is FULL:
        assert str(caught.value).endswith(f"save: {os.strerror(errno.ENOSPC)}: {str(old)!r}")
        assert caught.value.filename == str(old)  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_an_error_once_the_file_is_in_place(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    save(path, extra="old")
    with monkeypatch.context() as patch:
        patch.setattr("fastopt.checkpoint.replace._sync_folder", raiser(error))
        with pytest.raises(type(error)):
            save(path, extra="new")
    assert load(path) == "new"
    assert os.listdir(path.parent) == [path.name]


LIMITED = """
import resource, sys
import numpy as np
from fastopt.checkpoint import save
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    save(sys.argv[1], params={"a": np.zeros(1000), "b": np.zeros(100000)})
except OSError as error:
    print(error.errno, error)
"""


@posix
@pytest.mark.parametrize("limit", [0, 100, 50_000])
def test_a_file_that_may_not_grow(old: Path, limit: int) -> None:
    command = [sys.executable, "-c", LIMITED, str(old), str(limit)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    reason = os.strerror(errno.EFBIG)
    assert said == f"{errno.EFBIG} [Errno {errno.EFBIG}] save: {reason}: {str(old)!r}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_full_disk(tmp_path: Path, file_format: str) -> None:
    path = path_for(file_format, tmp_path)
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the command mount")
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    try:
        save(path, extra="old")
        with pytest.raises(
            OSError, match=r"save: No space left on device: '.*checkpoint"
        ) as caught:
            save(path, params=np.zeros(100_000))
        assert caught.value.errno == errno.ENOSPC
        assert load(path) == "old"
        assert os.listdir(tmp_path) == [path.name]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "c.npz"
    with pytest.raises(
        FileNotFoundError, match=r"save: there is no such folder to write to: '.*c\.n"
    ):
        save(path)
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="save: there is no such folder to write to"):
        save(tmp_path / "file" / "c.npz")


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^save: '.*' is no regular file, and is not replaced"):
        save(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(
            ValueError, match=r"^save: '.*pipe' is no regular file, and is not repl"
        ):
            save(tmp_path / "pipe")
        assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


@posix
@not_root
def test_without_permission(path: Path) -> None:
    save(path, extra="old")
    path.chmod(0o444)
    with pytest.raises(
        PermissionError, match=r"save: the file there is write-protected: '.*checkpoint"
    ):
        save(path, extra="new")
    path.chmod(0o644)
    path.parent.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match=r"save: Permission denied: '.*checkpoint"):
            save(path, extra="new")
    finally:
        path.parent.chmod(0o755)
    assert load(path) == "old"


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions(path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        path.chmod(0o640)
        save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(before)


@posix
def test_a_link_stays_and_its_file_is_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / "real").mkdir()
    path.symlink_to("real/file")
    for content in ("first", "second"):
        save(path, extra=content)
        assert path.is_symlink()
        assert load(path.parent / "real" / "file") == content
    monkeypatch.chdir(path.parent)
    save(path.name, extra="third")
    assert load(os.fsencode(path)) == "third"
    assert sorted(os.listdir()) == [path.name, "real"]
    assert os.listdir("real") == ["file"]
