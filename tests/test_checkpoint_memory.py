"""Loading reads array by array: memory for the largest is enough, and nothing is half done."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits
from checkpoints import FORMATS, path_for

import fastopt
from fastopt.checkpoint import files
from fastopt.optimizers.stored import Stored

MEGABYTES = 2**20


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return path_for(request.param, tmp_path)


def model(arrays: int, size: int, seed: int) -> tuple[dict[str, Any], Any]:
    rng = np.random.default_rng(seed)
    params = {f"w{i}": rng.normal(size=size).astype(np.float32) for i in range(arrays)}
    opt = fastopt.Adam(params, ema_decay=0.5)
    opt.step({name: w * np.float32(0.1) for name, w in params.items()})
    return params, opt


def everything(params: Any, opt: Any) -> list[Any]:
    return [*params.values(), *(array.copy() for array in opt._held.arrays_that_change())]


@pytest.mark.parametrize("strict", [True, False])
def test_memory(path: Path, strict: bool) -> None:
    """64 MB of parameters, moments and averages, in arrays of 2 MB."""
    params, opt = model(8, 2 * MEGABYTES // 4, seed=0)
    fastopt.save(path, params=params, optimizer=opt)
    assert os.path.getsize(path) > 64 * MEGABYTES
    others, other = model(8, 2 * MEGABYTES // 4, seed=1)
    fastopt.load(path, params=others, optimizer=other)  # what is imported first is no matter
    tracemalloc.start()
    try:
        fastopt.load(path, params=others, optimizer=other, strict=strict)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * MEGABYTES
    assert_same_bits(everything(others, other), everything(params, opt))


class Failing:
    """Lets a read fail: the n-th one of those that come after all was read once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        self.error = OSError(5, "Input/output error")
        init = Stored.__init__

        def new(stored: Stored, read: Any) -> None:
            init(stored, read)
            stored.read = lambda: self.read(read)

        monkeypatch.setattr(Stored, "__init__", new)

    def read(self, read: Any) -> Any:
        if self.left == 0:
            raise self.error
        self.left -= 1
        return read()


def test_a_file_that_fails_when_it_is_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, unless nothing has changed."""
    params, opt = model(2, 5, seed=0)
    fastopt.save(path, params=params, optimizer=opt)
    for after in range(8):
        others, other = model(2, 5, seed=1)
        before = [array.copy() for array in everything(others, other)]
        with monkeypatch.context() as patch:
            failing = Failing(patch, after)
            with pytest.raises((OSError, RuntimeError)) as caught:
                fastopt.load(path, params=others, optimizer=other)
        if after == 0:
            assert caught.value is failing.error
            assert_same_bits(everything(others, other), before)
        else:
            message = str(caught.value)
            assert "could be read once, and not again ([Errno 5] Input/output error)" in message
            assert "partly those of the file" in message
            assert caught.value.__cause__ is failing.error
        fastopt.load(path, params=others, optimizer=other)
        assert_same_bits(everything(others, other), everything(params, opt))
    with monkeypatch.context() as patch:
        Failing(patch, 8)
        fastopt.load(path, params=others, optimizer=other)


def test_a_file_that_fails_when_it_is_read_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, opt = model(2, 5, seed=0)
    fastopt.save(path, params=params, optimizer=opt)
    others, other = model(2, 5, seed=1)
    before = [array.copy() for array in everything(others, other)]
    reader = "_read_member" if path.suffix == ".npz" else "_read_tensor"
    real, left = getattr(files, reader), [5]

    def read(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(5, "Input/output error")
        return real(*arguments)

    monkeypatch.setattr(files, reader, read)
    with pytest.raises(OSError, match="Input/output"):
        fastopt.load(path, params=others, optimizer=other)
    assert_same_bits(everything(others, other), before)
    assert other.step_count == 1


def test_what_does_not_fit_is_found_before_anything_is_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, opt = model(2, 5, seed=0)
    opt.ema["w1"][3] = np.nan  # of the last array that is checked
    fastopt.save(path, params=params, optimizer=opt)
    others, other = model(2, 5, seed=1)
    before = [array.copy() for array in everything(others, other)]
    Failing(monkeypatch, 0)
    with pytest.raises(ValueError, match=r"ema\['w1'\] has a NaN"):
        fastopt.load(path, params=others, optimizer=other)
    assert_same_bits(everything(others, other), before)


def test_a_file_that_is_replaced_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was checked is what is loaded."""
    params, opt = model(2, 5, seed=0)
    fastopt.save(path, params=params, optimizer=opt)
    expected = everything(params, opt)
    others, other = model(2, 5, seed=1)
    init, new = Stored.__init__, path.with_name("new" + path.suffix)
    fastopt.save(new, params=others, optimizer=other)

    def replacing(stored: Stored, read: Any) -> None:
        init(stored, read)
        if new.exists() and os.name == "posix":
            os.replace(new, path)

    monkeypatch.setattr(Stored, "__init__", replacing)
    fastopt.load(path, params=others, optimizer=other)
    assert_same_bits(everything(others, other), expected)
