"""What cannot be saved, does not fit or is damaged is refused by name, and nothing changes."""

from __future__ import annotations

import collections
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import FORMATS, FakeOptimizer, path_for

import fastopt
from fastopt.checkpoint import files, load, save

GRID = np.arange(12.0).reshape(3, 4)


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return path_for(request.param, tmp_path)


class Foo:
    pass


def itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


Point = collections.namedtuple("Point", "x y")
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "object": (
        {"extra": {"model": Foo()}},
        TypeError,
        r"extra\['model'\] is a Foo; a checkpoint ho",
    ),
    "vowel": ({"extra": [EOFError()]}, TypeError, r"extra\[0\] is an EOFError; "),
    "function": ({"extra": [len]}, TypeError, r"extra\[0\] is a builtin_function_or_method; "),
    "set": ({"extra": ({1},)}, TypeError, r"extra\[0\] is a set; "),
    "bytes": ({"extra": b"x"}, TypeError, r"extra is a bytes; "),
    "complex": ({"extra": 1j}, TypeError, r"extra is a complex; "),
    "named tuple": ({"extra": Point(1, 2)}, TypeError, r"extra is a Point; "),
    "ordered": ({"extra": collections.OrderedDict()}, TypeError, r"extra is an OrderedDict; "),
    "string scalar": ({"extra": np.str_("a")}, TypeError, r"extra is a str_; "),
    "long double": (
        {"extra": np.longdouble(1)},
        TypeError,
        r"extra is a (longdouble|float128|float96); ",
    ),
    "key": ({"extra": {"a": {(1, 2): 1}}}, TypeError, r"extra\['a'\] has the key \(1, 2\); keys"),
    "bool key": (
        {"extra": {True: 1}},
        TypeError,
        r"extra has the key True; keys must be str or int",
    ),
    "float key": ({"params": {0.5: GRID}}, TypeError, r"params has the key 0.5; keys"),
    "objects": (
        {"extra": [np.array([None])]},
        TypeError,
        r"extra\[0\] has dtype object; a checkpo",
    ),
    "text": ({"params": {"w": np.array(["a"])}}, TypeError, r"params\['w'\] has dtype <U1; "),
    "complex128": ({"params": np.zeros(2, complex)}, TypeError, r"params has dtype complex128; "),
    "byte order": ({"extra": np.zeros(2, ">f4")}, TypeError, r"extra has dtype >f4; "),
    "structured": ({"extra": np.zeros(2, "f4,f4")}, TypeError, r"extra has dtype \[\('f0', "),
    "masked": ({"extra": np.ma.zeros(2)}, TypeError, r"extra must be a plain array, not a masked"),
    "matrix": (
        {"extra": GRID.view(np.matrix)},
        TypeError,
        r"extra must be a plain array, not a mat",
    ),
    "number": (
        {"params": {"w": 1.0}},
        TypeError,
        r"params\['w'\] must be a NumPy array, not float",
    ),
    "none": (
        {"params": [GRID, None]},
        TypeError,
        r"params\[1\] must be a NumPy array, not NoneType",
    ),
    "itself": ({"extra": itself()}, ValueError, r"extra is nested more than 100 deep; does it"),
    "optimizer": (
        {"optimizer": Foo()},
        TypeError,
        r"optimizer must have state_dict\(\), and a Foo",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_stored_is_refused_by_name(path: Path, name: str) -> None:
    given, error, message = REFUSED[name]
    save(path, extra="before")
    with pytest.raises(error, match=rf"^save: {message}"):
        save(path, **given)
    assert load(path) == "before"
    assert os.listdir(path.parent) == [path.name]


def test_a_state_that_is_no_dict_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = FakeOptimizer()
    monkeypatch.setattr(optimizer, "state_dict", lambda: [1], raising=False)
    with pytest.raises(
        TypeError, match=r"^save: optimizer\.state_dict\(\) must return a dict, not"
    ):
        save(path, optimizer=optimizer)
    optimizer.state_dict = lambda: {"f": len}  # type: ignore[method-assign]
    with pytest.raises(TypeError, match=r"^save: optimizer\['f'\] is a builtin"):
        save(path, optimizer=optimizer)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def repeated(shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    return np.lib.stride_tricks.as_strided(np.zeros(3), shape, strides)


def two_of_one(first: slice, second: slice) -> dict[str, Any]:
    whole = np.zeros(6)
    return {"w": whole[first], "c": whole[second].reshape(2, 2)}


STORED: dict[str, Any] = {"w": np.ones(4), "b": [np.ones(2), (np.ones(1),)], "c": np.ones((2, 2))}
W, B = r"params\['w'\] ", r"params\['b'\]"
MISFITS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "shape": (lambda: {"w": np.zeros(3)}, W + r"has shape \(3,\), the file has \(4,\)"),
    "axes": (lambda: {"w": np.zeros((4, 1))}, W + r"has shape \(4, 1\), the file has \(4,\)"),
    "dtype": (lambda: {"w": np.zeros(4, "f4")}, W + "has dtype float32, the file has float64"),
    "order": (lambda: {"w": np.zeros(4, ">f8")}, W + "has dtype >f8, the file has float64"),
    "more": (lambda: {"x": np.zeros(4)}, "params has an entry 'x', which the file has not"),
    "kind": (lambda: {"b": (np.zeros(2), ())}, B + " is a tuple, the file has a list"),
    "deep": (lambda: {"b": [np.zeros(2), [0]]}, B + r"\[1\] is a list, the file has a tuple"),
    "length": (lambda: {"b": [np.zeros(2)]}, B + " has length 1, the file has 2"),
    "array": (lambda: {"b": np.zeros(2)}, B + " is an array, the file has a list"),
    "tree": (lambda: {"w": [np.zeros(4)]}, W + "is a list, the file has an array"),
    "read-only": (lambda: {"w": read_only(np.zeros(4))}, W + "is read-only"),
    "itself": (lambda: {"w": repeated((4,), (0,))}, W + "overlaps itself in memory"),
    "windows": (lambda: {"c": repeated((2, 2), (8, 8))}, r"params\['c'\] overlaps itself"),
    "two": (lambda: two_of_one(np.s_[:4], np.s_[2:]), W + r"and params\['c'\] overlap in memory"),
    "backwards": (lambda: two_of_one(np.s_[:4], np.s_[:1:-1]), W + r"and params\['c'\] overlap"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_params_that_do_not_fit_are_refused_and_nothing_changes(path: Path, name: str) -> None:
    make, message = MISFITS[name]
    save(path, params=STORED, optimizer=FakeOptimizer(5, 0.25))
    good = {"w": np.zeros(4), "b": [np.zeros(2), (np.zeros(1),)], "c": np.zeros((2, 2))}
    params = {**good, **make()}
    optimizer = FakeOptimizer()
    with pytest.raises(ValueError, match=rf"^load: {message}"):
        load(path, params=params, optimizer=optimizer)
    for (array,) in fastopt.tree.zip_trees(params):
        assert not np.any(array)
    assert (optimizer.count, optimizer.moment.any()) == (0, False)


def test_an_entry_that_the_params_lack(path: Path) -> None:
    save(path, params=STORED)
    with pytest.raises(ValueError, match=r"^load: params has no entry 'b', which the file has"):
        load(path, params={"w": np.zeros(4), "c": np.zeros((2, 2))})
    with pytest.raises(ValueError, match=r"^load: params is an array, the file has a dict"):
        load(path, params=np.zeros(4))


@pytest.mark.parametrize(
    ("given", "kind"), [(1.0, "float"), (None, "NoneType"), (np.ma.zeros(4), "MaskedArray")]
)
def test_what_is_no_array_is_refused(path: Path, given: Any, kind: str) -> None:
    save(path, params={"a": np.ones(2), "w": np.ones(4)})
    params = {"a": np.zeros(2), "w": given}
    with pytest.raises(TypeError, match=rf"^load: {W}must be a NumPy array, not {kind}"):
        load(path, params=params)
    assert not params["a"].any()


def test_if_the_optimizer_refuses_the_params_stay(path: Path) -> None:
    params = {"w": np.ones(3)}
    save(path, params=params, optimizer=FakeOptimizer(5, 0.25))
    params["w"][:] = 0
    optimizer = FakeOptimizer()
    optimizer.moment = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="FakeOptimizer: m has another shape"):
        load(path, params=params, optimizer=optimizer)
    assert params["w"].tolist() == [0, 0, 0]
    assert optimizer.count == 0


def test_what_the_file_has_not_cannot_be_asked_for(path: Path) -> None:
    save(path, extra=1)
    with pytest.raises(ValueError, match=rf"^load: '{path}' has no params"):
        load(path, params={}, optimizer=FakeOptimizer())
    with pytest.raises(ValueError, match=rf"^load: '{path}' has no optimizer"):
        load(path, optimizer=FakeOptimizer())
    with pytest.raises(
        TypeError, match=r"^load: optimizer must have state_dict\(\), and a Foo has"
    ):
        load(path, optimizer=Foo())  # type: ignore[arg-type]


@pytest.mark.parametrize("function", ["save", "load"])
def test_a_path_that_is_none(function: str) -> None:
    with pytest.raises(TypeError, match=rf"^{function}: path must be a str or a path, not int"):
        getattr(fastopt.checkpoint, function)(3)


def small(path: Path) -> bytes:
    save(path, params={"w": np.arange(3, dtype=np.float32)}, extra={"note": "größe", "epoch": 3})
    return path.read_bytes()


def assert_unreadable(path: Path, content: bytes, message: str = "") -> None:
    path.write_bytes(content)
    params = {"w": np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match=rf"^load: '{path}' .*{message}"):
        load(path, params=params)
    assert not params["w"].any()


def test_a_file_cut_short_at_any_byte_is_refused(path: Path) -> None:
    content = small(path)
    for length in range(len(content)):
        assert_unreadable(path, content[:length])


def test_a_file_with_any_byte_changed_is_refused(path: Path, rng: np.random.Generator) -> None:
    content = small(path)
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= int(rng.integers(1, 256))
        assert_unreadable(path, bytes(changed))


def test_a_file_with_bytes_lost_or_more_is_refused(path: Path, rng: np.random.Generator) -> None:
    content = small(path)
    assert_unreadable(path, content + b"\0")
    assert_unreadable(path, b"\0" + content)
    assert_unreadable(path, content + content)
    for _ in range(200):
        begin, end = sorted(rng.integers(0, len(content) + 1, 2))
        if begin < end:
            assert_unreadable(path, content[:begin] + content[end:])
            assert_unreadable(path, content[:begin] + bytes(end - begin) + content[end:])


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"\x80\x04N.", b"{}" * 40, b"\xff" * 200, bytes(99)]
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    assert_unreadable(tmp_path / "c", content, "is no checkpoint of fastopt, or it was cut short")


def test_files_of_others_are_refused(path: Path) -> None:
    arrays = {"w": np.ones(3, np.float32)}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        pytest.importorskip("safetensors.numpy").save_file(arrays, path)
    assert_unreadable(path, path.read_bytes(), "is no checkpoint of fastopt, or it was cut short")


def test_another_version_is_refused(path: Path) -> None:
    other = small(path).replace(b"fastopt checkpoint 1 ", b"fastopt checkpoint 2 ")
    assert_unreadable(path, other, "has version 2 of the format; this fastopt reads version 1")


def test_a_folder_and_a_device_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^load: '.*' is a folder, not a checkpoint"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        load(tmp_path / "nothing")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ValueError, match=r"^load: '.*pipe' is no regular file"):
            load(tmp_path / "pipe")


FORGED: dict[str, Any] = {
    "no text": {"x": np.ones(1)},
    "no JSON": b"{",
    "no dict": b"[1]",
    "no params": b"{}",
    "tag": b'{"params":{"pickle":"x"},"optimizer":null,"extra":null}',
    "tags": b'{"params":null,"optimizer":null,"extra":{"int":"0x1","float":"nan"}}',
    "array": b'{"params":{"array":"params.x"},"optimizer":null,"extra":null}',
    "scalar": b'{"params":null,"optimizer":null,"extra":{"scalar":["O","00"]}}',
    "short": b'{"params":null,"optimizer":null,"extra":{"scalar":["int64",""]}}',
    "key": b'{"params":null,"optimizer":null,"extra":{"dict":[[[],1]]}}',
    "deep": b'{"params":' + b"[" * 100000,
    "latin": b"\xff\xff\xff",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_text_is_refused(path: Path, name: str) -> None:
    text = FORGED[name]
    arrays = text if isinstance(text, dict) else {"fastopt": np.frombuffer(text, np.uint8)}
    files.write_arrays(str(path), arrays, path.suffix[1:])
    with pytest.raises(
        ValueError, match=rf"^load: '{path}' is a damaged checkpoint: its structure"
    ):
        load(path)


def test_a_forged_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = files.UNSEALED.encode()
        with archive.open("fastopt.npy", "w") as member:
            np.lib.format.write_array(member, np.array([Foo()]), allow_pickle=True)
    with open(path, "r+b") as file:
        seal = files._find_seal(file)
        assert seal is not None
        checksum = files._checksum(file, seal.position)
        file.seek(seal.position)
        file.write(checksum)
    with pytest.raises(
        ValueError, match=r"is a damaged checkpoint: Object arrays cannot be loaded"
    ):
        load(path)


def test_read_names_itself(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no checkpoint")
    for wrong, error, message in [
        (3, TypeError, "^read: path must be a str or a path, not int"),
        (tmp_path, ValueError, "^read: '.*' is a folder"),
        (tmp_path / "text", ValueError, "^read: '.*' is no checkpoint of fastopt"),
    ]:
        with pytest.raises(error, match=message):
            fastopt.checkpoint.read(wrong)  # type: ignore[arg-type]
