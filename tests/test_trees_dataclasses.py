"""Dataclass instances are nodes of trees: their fields are entries, as those of a dict."""

from __future__ import annotations

import copy
import gc
import os
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from dataclasses import InitVar, asdict, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, arrays_of, state_arrays

import fastopt
from fastopt import reference
from fastopt.interop import from_keras_variables, to_keras_variables
from fastopt.tree import names, paths

every_rule = pytest.mark.parametrize("case", PLAIN_CASES, ids=str)


@dataclass
class Layer:
    w: Any
    b: Any


@dataclass
class Model:
    layers: list[Layer]
    head: dict[str, Any]
    scale: Any


@dataclass(frozen=True)
class Frozen:
    w: Any
    b: Any


@dataclass(slots=True)
class Slots:
    w: Any
    b: Any


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    w: Any
    b: Any


@dataclass(kw_only=True)
class Derived(Layer):
    extra: Any
    b: Any = None  # an overridden field stays where it was


@dataclass(slots=True)
class DerivedSlots(Slots):
    extra: Any = None


@dataclass
class Rich:
    """All that dataclasses have besides plain fields."""

    kind: ClassVar[str] = "rich"
    seed: InitVar[int]
    w: Any = field(init=False)
    b: Any = field(default_factory=lambda: np.zeros(3))
    name = "no field"

    def __post_init__(self, seed: int) -> None:
        self.w = np.full((2, 2), float(seed))
        self.cached = "no field"


FLAT = [Layer, Frozen, Slots, FrozenSlots, make_dataclass("Made", ["w", "b"])]
Make = Callable[[Callable[[tuple[int, ...]], Any]], Any]


def model(new: Callable[[tuple[int, ...]], Any]) -> Model:
    layers = [Layer(new((3, 4)), new((4,))), Layer(new((4, 2)), new((2,)))]
    return Model(layers, {"w": new((2, 5))}, new(()))


def random_model(seed: int) -> Model:
    rng = np.random.default_rng(seed)
    return model(lambda shape: np.array(rng.standard_normal(shape)))


def ones() -> Any:
    return np.ones(3)


# What becomes of it


@every_rule
@pytest.mark.parametrize("grads_are", ["dataclass", "dict"])
def test_a_step_has_the_bits_of_dicts(case: Case, grads_are: str) -> None:
    ours, theirs, state = random_model(0), asdict(random_model(0)), None
    state, their_state = case.new_state(ours), case.new_state(theirs)
    of_reference = random_model(0)
    its_state = case.new_state(of_reference)
    for seed in (1, 2, 3):
        grads: Any = random_model(seed)
        plain = asdict(grads)
        case.step(ours, plain if grads_are == "dict" else grads, state, clip_norm=1.0)
        case.step(theirs, plain, their_state, clip_norm=1.0)
        case.reference_step(of_reference, grads, its_state, clip_norm=1.0)
    for got in (asdict(ours), asdict(of_reference)):
        for a, b in zip(arrays_of(got), arrays_of(theirs), strict=True):
            np.testing.assert_array_equal(a, b)
    for tree, its in zip(state_arrays(state), state_arrays(their_state), strict=True):
        assert type(tree) is Model
        for a, b in zip(arrays_of(asdict(tree)), arrays_of(its), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cls", FLAT)
def test_every_kind_of_class(cls: type) -> None:
    params, grads = cls(ones(), np.zeros(2)), cls(ones(), np.ones(2))
    state = fastopt.adam_init(params)
    assert type(state.m) is cls
    assert [f.name for f in fields(state.m)] == ["w", "b"]
    fastopt.adam_step(params, grads, state, lr=0.5)
    fastopt.adam_step(params, {"b": np.ones(2), "w": ones()}, state, lr=0.5)
    fastopt.adam_step(params, Layer(ones(), np.ones(2)), state, lr=0.5)  # fields of the same names
    opt = fastopt.SGD(params, lr=1.0)
    opt.step(cls(ones(), np.ones(2)))
    np.testing.assert_allclose(params.w, [-1.5, -1.5, -1.5])
    assert names("", params) == ["w", "b"]


def test_fields_and_what_is_none() -> None:
    params = Rich(7)
    assert names("", params) == ["w", "b"]
    assert fastopt.sparsity(params).size == 7
    state = fastopt.momentum_init(params)
    assert type(state.buf) is Rich
    assert vars(state.buf).keys() == {"w", "b"}
    fastopt.momentum_step(params, {"w": np.ones((2, 2)), "b": ones()}, state, lr=1.0)
    assert params.w.tolist() == [[6, 6], [6, 6]]


@pytest.mark.parametrize("cls", [Derived, DerivedSlots])
def test_inheritance_and_order(cls: type) -> None:
    params = cls(w=ones(), b=ones(), extra=np.zeros(1))
    assert names("", params) == ["w", "b", "extra"]
    opt = fastopt.SGD(params, lr=1.0)
    assert opt.names == ("w", "b", "extra")
    opt.step({"w": ones(), "b": ones(), "extra": np.ones(1)})
    assert params.extra.tolist() == [-1]


def test_a_class_that_inherits_without_being_decorated() -> None:
    class Undecorated(Layer):
        more: Any

    params = Undecorated(ones(), ones())
    params.more = "no field"
    fastopt.sgd_step(params, Layer(ones(), ones()), lr=1.0)
    assert params.w.tolist() == [0, 0, 0]


def test_a_dataclass_that_is_also_a_container_counts_as_that() -> None:
    @dataclass
    class Both(dict):  # type: ignore[type-arg]
        w: Any

    params = Both(ones())
    params["b"] = ones()
    assert names("", params) == ["b"]
    fastopt.sgd_step(params, {"b": ones()}, lr=1.0)
    assert params["b"].tolist() == [0, 0, 0]
    assert params.w.tolist() == [1, 1, 1]


def test_names_and_paths() -> None:
    dotted = ["layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b", "head.w", "scale"]
    params = random_model(0)
    assert names("", params) == dotted
    assert fastopt.SGD(params).names == tuple(dotted)
    assert paths({"net": params})[:2] == ["['net'].layers[0].w", "['net'].layers[0].b"]
    assert list(fastopt.sparsity(params).entries)[-2:] == ["params.head['w']", "params.scale"]
    grouped = fastopt.groups(params, {"*.b": {"lr": 0.0}})
    assert fastopt.SGD(grouped).groups[1].names == ("layers.0.b", "layers.1.b")


def test_objects_with_all_their_trees() -> None:
    params, plain = random_model(0), asdict(random_model(0))
    options: dict[str, Any] = {"lr": 0.1, "ema_decay": 0.5, "clip_norm": 1.0}
    ours, theirs = fastopt.Adam(params, **options), fastopt.Adam(plain, **options)
    masks = model(lambda shape: np.ones(shape, bool))
    masks.layers[0].w[0] = False
    for seed in (1, 2):
        grads = random_model(seed)
        ours.accumulate(grads)
        theirs.accumulate(asdict(grads))
    ours.step()
    theirs.step()
    grads = random_model(3)
    ours.step(grads, mask=masks, update_mask=asdict(masks))
    theirs.step(asdict(grads), mask=asdict(masks), update_mask=asdict(masks))
    assert type(ours.ema) is Model
    assert type(ours.ema.layers[1]) is Layer
    with ours.averaged() as swapped:
        assert swapped is params
    for a, b in ((params, plain), (ours.ema, theirs.ema)):
        for x, y in zip(arrays_of(asdict(a)), arrays_of(b), strict=True):
            np.testing.assert_array_equal(x, y)
    again = copy.deepcopy(ours)
    again.load_state_dict(ours.state_dict())
    again.step(grads)
    ours.step(grads)
    np.testing.assert_array_equal(again.params.scale, params.scale)


def test_what_else_takes_trees() -> None:
    params, plain = random_model(0), asdict(random_model(0))
    assert fastopt.global_norm(params) == fastopt.global_norm(plain)
    assert fastopt.global_norm(params) == reference.global_norm(params)
    own: Any = Model([Layer(0.5, 0.0), Layer(0.25, 0.0)], {"w": 1.0}, 0.0)
    branch = {"layers": 0.5, "head": 0.0, "scale": 0.0}
    for l2 in (own, asdict(own), branch, 0.5):
        assert fastopt.penalty(params, l2=l2) == reference.penalty(params, l2=l2)
        one, other = copy.deepcopy(params), copy.deepcopy(params)
        grads = random_model(1)
        fastopt.sgd_step(one, grads, l2=l2, drop=fastopt.Dropout(0.5, 1))
        reference.sgd_step(other, grads, l2=l2, drop=fastopt.Dropout(0.5, 1))
        np.testing.assert_array_equal(one.layers[1].w, other.layers[1].w)
    params, also = Layer(np.full((3, 2), 9.0), np.full((3, 2), 9.0)), np.full((3, 2), 9.0)
    fastopt.max_norm(params, 1.0)
    fastopt.max_norm(also, 1.0)
    np.testing.assert_array_equal(params.b, also)
    params.b[1, 1] = np.inf
    assert fastopt.global_norm({"net": params}).nonfinite == "grads['net'].b"
    assert reference.global_norm({"net": params}).nonfinite == "grads['net'].b"


def test_states_of_other_libraries_go_by_names() -> None:
    params = random_model(0)
    opt = fastopt.Adam(params, epsilon_hat=True, eps=1e-7)
    opt.step(random_model(1))
    variables = to_keras_variables(opt.state_dict())
    config = {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    new = fastopt.Adam(random_model(2), epsilon_hat=True, eps=1e-7)
    serialized = {"class_name": "Adam", "config": {**config, "amsgrad": False}}
    new.load_state_dict(from_keras_variables(variables, serialized, opt.names))
    np.testing.assert_array_equal(new.groups[0].state.m[0], opt.groups[0].state.m[0])


def test_averages_and_sums_of_a_frozen_branch() -> None:
    params = Model([Layer(ones(), ones())], {"w": ones()}, ones())
    opt = fastopt.SGD([{"params": params}, {"params": Frozen(ones(), ones()), "frozen": True}])
    opt.step([model_of_ones(), None])
    assert opt.params[1].w.tolist() == [1, 1, 1]


def model_of_ones() -> Model:
    return Model([Layer(ones(), ones())], {"w": ones()}, ones())


def test_checkpoints(tmp_path: Path) -> None:
    path, params = tmp_path / "model.npz", random_model(0)
    opt = fastopt.Adam(params)
    opt.step(random_model(1))
    fastopt.save(path, params=params, optimizer=opt)
    assert fastopt.checkpoint.read(path)["params"].keys() == {"layers", "head", "scale"}
    as_class, as_dict = random_model(2), asdict(random_model(2))
    new = fastopt.Adam(as_class)
    fastopt.load(path, params=as_class, optimizer=new)
    fastopt.load(path, params=as_dict)
    for got in (asdict(as_class), as_dict):
        for a, b in zip(arrays_of(got), arrays_of(asdict(params)), strict=True):
            np.testing.assert_array_equal(a, b)
    opt.step(random_model(3))
    new.step(random_model(3))
    np.testing.assert_array_equal(as_class.scale, params.scale)
    as_class.layers[1].b = np.zeros(7)
    with pytest.raises(ValueError, match=r"load: params\.layers\[1\]\.b has shape \(7,\)"):
        fastopt.load(path, params=as_class)
    with pytest.raises(ValueError, match="load: params has an entry 'w', which the file has not"):
        fastopt.load(path, params=Layer(ones(), ones()))
    with pytest.raises(TypeError, match=r"save: params\.b must be a NumPy array, not str"):
        fastopt.save(path, params=Layer(ones(), "b"))
    with pytest.raises(TypeError, match="save: extra is a Layer; a checkpoint holds"):
        fastopt.save(path, extra=Layer(ones(), ones()))


def test_threads_share_what_is_known_of_classes() -> None:
    def steps() -> None:
        for _ in range(50):
            cls = make_dataclass("Made", ["w", "b"])
            params = cls(ones(), ones())
            fastopt.sgd_step(params, cls(ones(), ones()), lr=1.0)
            done.append(bool((params.w == 0).all() and (params.b == 0).all()))

    done: list[bool] = []
    threads = [threading.Thread(target=steps) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 200


# Memory


def test_few_classes_are_kept() -> None:
    classes = [make_dataclass(f"Made{i}", ["w"]) for i in range(200)]
    for cls in classes:
        fastopt.sgd_step(cls(ones()), cls(ones()))
    known = [weakref.ref(cls) for cls in classes]
    del classes, cls
    gc.collect()
    assert sum(ref() is not None for ref in known) <= 64


@pytest.mark.parametrize("cls", FLAT)
def test_no_memory_is_kept(cls: type) -> None:
    params, grads = cls(ones(), ones()), cls(ones(), ones())
    wrong = cls(ones(), "x")
    opt = fastopt.Adam(params)

    def calls() -> None:
        for _ in range(100):
            opt.step(grads)
            fastopt.sgd_step(params, {"w": grads.w, "b": grads.b})
            with pytest.raises(TypeError):
                opt.step(wrong)

    def memory_after_calls() -> int:
        calls()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    def references() -> list[int]:
        return [sys.getrefcount(x) for x in (params.w, grads.w, grads, wrong, cls)]

    calls()
    before = references()
    calls()
    assert references() == before
    if "PYTHONMALLOC" in os.environ:  # of another allocator, tracemalloc counts what is free again
        return
    tracemalloc.start()
    memory = [memory_after_calls()]
    for _ in range(20):  # other threads and caches of Python's take memory now and then
        memory.append(memory_after_calls())
        if memory[-1] - memory[-2] < 1000:
            break
    tracemalloc.stop()
    assert memory[-1] - memory[-2] < 1000, np.diff(memory)
