"""What is saved comes back exactly, into its place; what does not fit changes nothing."""

from __future__ import annotations

import builtins
import collections
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import FORMATS, FakeOptimizer, needs_safetensors, path_for

import fastopt
from fastopt.checkpoint import load, read, save


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return path_for(request.param, tmp_path)


def assert_same(found: Any, wanted: Any) -> None:
    """Same types, same bits, all the way down."""
    if isinstance(wanted, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert found.tobytes() == wanted.tobytes()
        assert found.flags.writeable
        assert found.flags.aligned
    else:
        assert type(found) is type(wanted)
        if isinstance(wanted, dict):
            assert [(type(key), key) for key in found] == [(type(key), key) for key in wanted]
            for key, child in wanted.items():
                assert_same(found[key], child)
        elif isinstance(wanted, (list, tuple)):
            assert len(found) == len(wanted)
            for one, other in zip(found, wanted, strict=True):
                assert_same(one, other)
        elif isinstance(wanted, np.generic):
            assert found.tobytes() == wanted.tobytes()
        elif isinstance(wanted, float):
            assert math.isnan(wanted) or struct.pack("d", found) == struct.pack("d", wanted)
            assert math.isnan(found) == math.isnan(wanted)
        else:
            assert found == wanted


def nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


GRID = np.arange(12.0).reshape(3, 4)
NUMBERS = [0, 1, 300, np.inf, -np.inf, np.nan, -0.0]
EXTRAS: dict[str, Any] = {
    "None": None,
    "bools": [True, False],
    "ints": [0, -1, 2**63, 2**64 - 1, -(2**64), 10**30, -(10**5000), {"state": 2**127 + 1}],
    "floats": [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e16, 2.0, math.nan, math.inf, -math.inf],
    "strings": [
        "",
        "a.b/c\\d",
        "größe ∂",
        "\0\n\"'",
        "\ud800",
        "\U0001d518",
        "fastopt checkpoint 1",
    ],
    "tuples": ((), (1, (2, [3])), [(4,)]),
    "empty": [{}, [], ()],
    "keys": {"": 1, "a.b": 2, "a": {"b": 3}, "1": 4, 1: 5, -(2**70): 6, "dict": 7, "array": {}},
    "like the text": {"array": "params.w", "list": [{"tuple": [1]}, {"float": "nan"}]},
    "scalars": [np.dtype(kind).type(1) for kind in "?bhilBHILefd"],
    "odd scalars": [np.float32(np.nan), np.float64(-0.0), np.uint64(2**64 - 1), np.float16(0.1)],
    "random state": np.random.default_rng(1).bit_generator.state,
    "deep": nest(49),
    **{f"array {kind}": np.array([0, 1, 1]).astype(kind) for kind in "?bhilqBHILQ"},
    **{f"array {kind}": np.array(NUMBERS).astype(kind) for kind in "efd"},
    "0-d": [np.array(2.5), np.array(True), np.array(7, np.uint8)],
    "empty arrays": [np.zeros(0), np.zeros((0, 3), np.float16), np.zeros((2, 0, 3), bool)],
    "five axes": np.arange(32, dtype=np.int16).reshape(2, 2, 2, 2, 2),
    "Fortran": np.asfortranarray(GRID),
    "slices": [GRID[::2], GRID[:, ::-1], GRID.T, np.broadcast_to(np.float32(1), (2, 2))],
    "alike twice": [GRID, GRID],
    "names": {"a.b": GRID, "a": {"b": GRID + 1}, "x/../y": GRID + 2, "\0": GRID + 3, "": GRID},
    "names alike": {1: GRID, "1": GRID + 1, "n": {1: {"w": GRID + 2}, "1": {"w": GRID + 3}}},
    "names of members": {1: GRID, "1": {"npy": GRID + 1}, "file": GRID, "w.npy": GRID + 2},
    "odd names": {
        "\ud800": GRID,
        "größe": GRID + 1,
        "__metadata__": GRID + 2,
        "k" * 70000: GRID + 3,
    },
    "long names": {"k" * 300: {"a": GRID, "b": GRID + 1}, "k" * 301: {"a": GRID + 2}},
}


@pytest.fixture(params=EXTRAS)
def extra(request: pytest.FixtureRequest) -> Any:
    return EXTRAS[request.param]


def test_round_trip(path: Path, extra: Any) -> None:
    save(path, extra=extra)
    assert_same(load(path), extra)


def test_the_same_content_makes_the_same_file(path: Path) -> None:
    save(path, extra=EXTRAS)
    first = path.read_bytes()
    save(path, extra=EXTRAS)
    assert path.read_bytes() == first
    assert_same(load(path), EXTRAS)


TREES: dict[str, Callable[[], Any]] = {
    "array": lambda: np.arange(3.0),
    "0-d": lambda: np.array(1.5, np.float32),
    "dict": lambda: {"w": np.ones((2, 3), np.float32), "b": np.arange(2.0)},
    "nested": lambda: {"layers": [{"w": np.ones(3)}, (np.zeros(2), np.zeros(0))], 5: np.ones(1)},
    "subclass": lambda: collections.OrderedDict(b=np.ones(2), a=np.zeros(3)),
    "Fortran": lambda: [np.asfortranarray(GRID)],
    "blocks": lambda: [(whole := GRID.copy())[:, :2], whole[:, 2:]],
    "reversed": lambda: [GRID.copy()[::-1, ::2]],
    "empty": dict,
}


@pytest.mark.parametrize("name", TREES)
def test_params_come_back_in_place(path: Path, name: str) -> None:
    params = TREES[name]()
    save(path, params=params)
    arrays = [array for (array,) in fastopt.tree.zip_trees(params)]
    wanted = [array.copy() for array in arrays]
    for array in arrays:
        array[...] = -7
    assert load(path, params=params) is None
    for array, want in zip(arrays, wanted, strict=True):
        np.testing.assert_array_equal(array, want)


def test_all_three(path: Path) -> None:
    params = {"w": np.ones(3)}
    save(path, params=params, optimizer=FakeOptimizer(5, 0.25), extra={"epoch": 2})
    optimizer = FakeOptimizer()
    moment = optimizer.moment
    params["w"][:] = 0
    assert load(path, params=params, optimizer=optimizer) == {"epoch": 2}
    assert params["w"].tolist() == [1, 1, 1]
    assert (optimizer.count, moment.tolist()) == (5, [0.25] * 3)
    assert load(path) == {"epoch": 2}, "nobody has to take all"
    assert_same(
        read(path),
        {
            "params": {"w": np.ones(3)},
            "optimizer": {"count": 5, "m": np.full(3, 0.25, np.float32), "groups": [{"lr": 0.1}]},
            "extra": {"epoch": 2},
        },
    )


def test_other_programs_can_read_the_arrays(path: Path) -> None:
    save(path, params={"layer": [{"w": GRID}]}, optimizer=FakeOptimizer(1, 2.0))
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            found = dict(archive)
    else:
        found = pytest.importorskip("safetensors.numpy").load_file(path)
    assert sorted(found) == ["fastopt", "optimizer.m", "params.layer.0.w"]
    assert_same(found["params.layer.0.w"].copy(), GRID)


def hide_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "safetensors":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)


@needs_safetensors
@pytest.mark.parametrize(
    "name", ["c", "c.pt", "c.NPZ", "c.SafeTensors", "ü.npz", "c" * 240, ".npz"]
)
def test_the_name_stays_and_the_content_tells(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    save(path, extra=1)
    is_npz = path.read_bytes()[:2] == b"PK"
    assert is_npz == name.lower().endswith(".npz")
    moved = tmp_path / "moved"
    path.rename(moved)
    assert load(moved) == 1
    assert os.listdir(tmp_path) == ["moved"]
    hide_safetensors(monkeypatch)
    if name == "c.SafeTensors":
        with pytest.raises(ImportError, match=r"pip install 'fastopt\[safetensors\]'"):
            save(path, extra=2)
        assert os.listdir(tmp_path) == ["moved"]
    else:
        save(path, extra=2)
        assert path.read_bytes()[:2] == b"PK"
        assert load(path) == 2
    if not is_npz:
        with pytest.raises(ImportError, match=r"^load: '.*moved' is .*\(pip install"):
            load(moved)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_safetensors(monkeypatch)
    save(tmp_path / "c", extra=1)
    assert load(tmp_path / "c") == 1
    with pytest.raises(
        ImportError, match=r"^save: '.*' needs the package safetensors \(pip install"
    ):
        save(tmp_path / "c.safetensors")
    (tmp_path / "other").write_bytes(b"\0")
    with pytest.raises(ValueError, match="is no checkpoint"):
        load(tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == ["c", "other"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_going_on_is_the_same_as_never_having_stopped(
    path: Path, rng: np.random.Generator, dtype: type
) -> None:
    gradients = [{"w": rng.standard_normal((5, 7)).astype(dtype)} for _ in range(6)]

    def start() -> tuple[Any, Any, fastopt.Dropout]:
        params = {"w": np.ones((5, 7), dtype)}
        return params, fastopt.adam_init(params), fastopt.Dropout(0.5, seed=2**64 - 1)

    def train(params: Any, state: Any, drop: fastopt.Dropout, steps: slice) -> None:
        for grads in gradients[steps]:
            fastopt.adam_step(params, grads, state, lr=0.1, drop=drop)

    params, state, drop = start()
    train(params, state, drop, np.s_[:3])
    moments = {"step": state.step, "m": state.m, "v": state.v}
    save(path, params=params, optimizer=drop, extra=moments)
    train(params, state, drop, np.s_[3:])

    again, _, drop_again = start()
    state_again = fastopt.AdamState(**load(path, params=again, optimizer=drop_again))
    train(again, state_again, drop_again, np.s_[3:])
    assert_same(again, params)
    assert_same(state_again.m, state.m)
    assert_same(state_again.v, state.v)
    assert (state_again.step, drop_again.offset) == (state.step, drop.offset)
