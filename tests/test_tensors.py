"""Tensors of other libraries are leaves of all functions, as arrays are, by DLPack."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cases import DTYPES, PLAIN_CASES, Case, all_of
from tensors import GPU, LENDS_TO_WRITE, SlowTensor, Tensor

import fastopt
from fastopt import _core
from fastopt.tree import map_tree

KINDS = [Tensor, SlowTensor] if LENDS_TO_WRITE else [Tensor]


@pytest.fixture(autouse=True)
def nothing_stays_lent() -> Iterator[None]:
    before = set(Tensor.held)
    yield
    if Tensor.held.keys() != before:
        gc.collect()
    assert Tensor.held.keys() == before


def like(kind: Callable[..., Any], tree: Any) -> Any:
    return map_tree(kind, tree)


def arrays(dtype: Any = np.float64) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    return {
        "w": rng.normal(size=(7, 9)).astype(dtype),
        "b": [rng.normal(size=70).astype(dtype), np.array(0.5, dtype), np.zeros((0, 3), dtype)],
        "t": np.asfortranarray(rng.normal(size=(4, 5)).astype(dtype)),
    }


def bits(tree: Any) -> list[bytes]:
    found: list[bytes] = []
    map_tree(lambda leaf: found.append(np.ascontiguousarray(leaf).tobytes()), tree)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_functions(case: Case, kind: Callable[..., Any]) -> None:
    for dtype in DTYPES:
        ours, theirs, mask = arrays(dtype), arrays(dtype), arrays()
        mask = map_tree(lambda a: np.asarray(a > -0.5), mask)
        tensors, state = like(kind, ours), case.new_state(theirs)
        own = case.new_state(tensors)
        if own is not None:  # states are arrays, and may be tensors too
            assert bits(all_of(own)) == bits(all_of(state))
            for name in own.__slots__[1:]:
                setattr(own, name, like(kind, getattr(own, name)) if getattr(own, name) else None)
        for step in range(3):
            grads = map_tree(
                lambda a, by=step: np.asarray(a + by, a.dtype, order="K"), arrays(dtype)
            )
            more: dict[str, Any] = {"clip_norm": 3.0} if step == 1 else {}
            case.step(theirs, grads, state, update_mask=mask, **more)
            case.step(tensors, like(kind, grads), own, update_mask=like(kind, mask), **more)
            assert bits(ours) == bits(theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}, {"zero_grads": True}, {"drop": True}])
def test_objects(options: dict[str, Any], kind: Callable[..., Any]) -> None:
    def make(params: Any) -> Any:
        own = dict(options)
        if own.get("drop"):
            own["drop"] = fastopt.Dropout(0.5, seed=3)
        return fastopt.Adam(params, lr=0.1, ema_decay=0.9, **own)

    ours, theirs = arrays(), arrays()
    opt, other = make(like(kind, ours)), make(theirs)
    assert repr(opt) == repr(other)
    for step in range(4):
        grads, same = arrays(), arrays()
        opt.step(like(kind, grads))
        other.step(same)
        assert bits([ours, opt.ema]) == bits([theirs, other.ema]), step
        assert bits(grads) == bits(same)
    with opt.averaged(), other.averaged():
        assert bits(ours) == bits(theirs)
    for each, tree in ((opt, like(kind, arrays())), (other, arrays())):
        each.accumulate(tree)
        each.accumulate(tree)
        each.step()
        each.reset_averages()
    assert bits(ours) == bits(theirs) == bits(opt.ema)
    assert bits(copy.deepcopy(opt).ema) == bits(other.ema)
    opt.load_state_dict(opt.state_dict())
    for each in (opt, other):
        each.step(arrays())
    assert bits([ours, opt.ema]) == bits([theirs, other.ema])


def test_gradients_are_taken_at_a_glance() -> None:
    """And so is the view of one, which what has a single element gets."""
    p = [np.ones((3, 4)), np.ones(5), np.ones(1)]
    opt = fastopt.SGD(like(Tensor, p), lr=0.1)
    opt.step(like(Tensor, [np.ones((3, 4)), np.ones(5), np.ones(1)]))
    assert _core.told()["glances"] == 3
    opt.step(like(Tensor, [np.ones((3, 4)).T.copy().T, np.ones(10)[::2], np.ones(1)]))
    assert _core.told()["glances"] == 1
    assert all((array == 0.8).all() for array in p)


def test_memory_is_held_while_kernels_run() -> None:
    """Many elements are computed without the GIL: a tensor may get other memory meanwhile."""
    lent = []

    class Watched(Tensor):
        def detach(self) -> Any:  # another object for the same memory, which lends it
            lent.append(self)
            return Tensor(self.array)

    for size, views in ((16384, 1), (50, 0)):
        opt = fastopt.SGD(Watched(np.ones(size)), lr=0.1)
        lent.clear()
        opt.step(Watched(np.ones(size)))
        assert len(lent) == views
        assert _core.told()["glances"] == 1


def test_tensors_that_change_while_they_are_read() -> None:
    p, q = Tensor(np.ones(3)), np.ones(3)

    class Hostile(Tensor):
        def is_neg(self) -> bool:
            p.array = q
            return False

    with pytest.raises(ValueError, match=r"^sgd_step: params\[0\] was given other memory while"):
        fastopt.sgd_step([p, Hostile(np.ones(3))], [np.ones(3), np.ones(3)], lr=1.0)
    assert (q == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_other_memory_is_noticed(kind: Callable[..., Any]) -> None:
    before, after, grads = np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3))
    w = kind(before)
    opt = fastopt.Momentum({"w": w}, lr=1.0)
    opt.step({"w": grads})
    w.array = after
    with pytest.raises(ValueError, match=r"step: params\['w'\] has other memory than it had"):
        opt.step({"w": grads})
    assert (before == 0).all()
    assert (after == 1).all()
    opt.step({"w": grads}, params={"w": w})
    assert (after == 1 - 1.9).all()
    assert (before == 0).all()
    opt.step({"w": grads})
    w.array = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"params\['w'\] has other memory than it had"):
        opt.step({"w": grads})


@pytest.mark.parametrize(
    ("differs", "message"),
    [
        (
            {"read_only": True},
            "params is read-only, as DLPack lends it",
        ),
        ({"device_type": GPU}, "params is a Tensor without plain memory on the CPU"),
        ({"no_memory": True}, "params is a Tensor without plain memory on the CPU"),
        ({"dtype": (4, 16)}, "params is a Tensor of another dtype; a step takes float32"),
        ({"dtype": (0, 64)}, "params is a Tensor of another dtype; a step takes float32"),
    ],
)
def test_refused(differs: dict[str, Any], message: str) -> None:
    array, gradient = np.ones(3), np.ones(3)
    for call in (
        lambda: fastopt.sgd_step(Tensor(array, **differs), gradient, lr=1.0),
        lambda: fastopt.SGD(Tensor(array, **differs), lr=1.0),
        lambda: fastopt.adam_init(Tensor(array, **differs)),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()
    opt = fastopt.SGD(gradient, lr=1.0)
    if "read_only" in differs:  # gradients are only read
        return opt.step(Tensor(array, **differs))
    with pytest.raises(TypeError, match=message.replace("params", "^SGD.step: grads")):
        opt.step(Tensor(array, **differs))
    opt.freeze("params")
    opt.step(Tensor(array, **differs))  # not looked at
    assert (array == 1).all()


def test_without_the_table() -> None:
    """Gradients are read with every NumPy; old ones lend nothing to write."""
    p, g = np.ones(3), np.full(3, 0.25)
    fastopt.sgd_step(p, SlowTensor(g), lr=1.0)
    assert (p == 0.75).all()
    if LENDS_TO_WRITE:
        fastopt.sgd_step(SlowTensor(p), g, lr=1.0)
        assert (p == 0.5).all()
        return
    with pytest.raises(ValueError, match=r"^sgd_step: params is read-only, as DLPack lends it"):
        fastopt.sgd_step(SlowTensor(p), g, lr=1.0)
    assert (p == 0.75).all()


def test_what_tells_why() -> None:
    class Sparse(Tensor):
        layout = "torch.sparse_coo"

    class Far(Tensor):
        device = "cuda:0"

    class Negative(Tensor):
        def is_neg(self) -> bool:
            return True

    p = np.ones(3)
    for tensor, message in (
        (Sparse(p, no_memory=True), "is a Sparse of layout torch.sparse_coo; a step takes dense"),
        (Far(p, device_type=GPU), "is a Far on the device cuda:0; a step takes memory of the host"),
        (Negative(p), r"is a Negative whose sign is still to be changed; .resolve_neg\(\)"),
    ):
        with pytest.raises(TypeError, match=r"^sgd_step: grads\['w'\] " + message):
            fastopt.sgd_step({"w": p}, {"w": tensor}, lr=1.0)
    one = fastopt.SGD(np.ones(1), lr=1.0)  # which may lie as any other
    with pytest.raises(TypeError, match=r"SGD.step: grads is a Negative whose sign"):
        one.step(Negative(np.ones(1)))

    class Broken(SlowTensor):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("lies elsewhere")

    with pytest.raises(TypeError, match=r"Broken, which numpy.from_dlpack refuses: lies elsewhere"):
        fastopt.sgd_step(p, Broken(p), lr=1.0)
    assert (p == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_overlaps(kind: Callable[..., Any]) -> None:
    memory = np.ones(10)
    with pytest.raises(ValueError, match="params and grads overlap in memory"):
        fastopt.sgd_step(kind(memory[:6]), memory[4:], lr=1.0)
    with pytest.raises(ValueError, match=r"params\[0\] and params\[1\] overlap"):
        fastopt.SGD([kind(memory[:6]), kind(memory[5:])], lr=1.0)
    opt = fastopt.SGD(memory[:5], lr=1.0)
    with pytest.raises(ValueError, match="grads and params overlap"):
        opt.step(kind(memory[4:9]))
    opt.step(kind(memory[5:]))
    assert (memory[:5] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_other_functions(kind: Callable[..., Any], tmp_path: Any) -> None:
    p = {"w": np.array([[3.0, 0.0], [4.0, 2.0]])}
    tensors = like(kind, p)
    assert fastopt.penalty(tensors, l1=1.0) == 9.0
    assert fastopt.sparsity(tensors).entries["params['w']"].zeros == 1
    assert fastopt.global_norm(tensors) == fastopt.global_norm(p)
    dropped = fastopt.dropout(tensors["w"], 0.5, seed=1)
    assert bits(dropped) == bits(fastopt.dropout(p["w"], 0.5, seed=1))
    out = kind(np.zeros((2, 2)))
    assert fastopt.dropout_backward(tensors["w"], 0.5, seed=1, out=out) is out
    assert bits(out.array) == bits(dropped)
    path = tmp_path / "checkpoint.npz"
    fastopt.save(path, params=tensors)
    fastopt.max_norm(tensors, 1.0)
    assert p["w"][1, 0] == 0.8
    fastopt.load(path, params=tensors)
    assert p["w"][1, 0] == 4.0


@pytest.mark.parametrize("kind", KINDS)
def test_states_that_are_tensors(kind: Callable[..., Any]) -> None:
    p, m, v = np.ones(3), np.full(3, 0.5), np.full(3, 0.25)
    opt = fastopt.Adam(p, lr=0.1, state=fastopt.AdamState(4, kind(m), kind(v)))
    opt.step(np.ones(3))
    assert (m == 0.9 * 0.5 + (1 - 0.9) * 1.0).all()
    saved = opt.state_dict()
    saved["groups"][0]["state"]["m"]["params"] = kind(np.full(3, 7.0))
    opt.load_state_dict(saved)
    assert (m == 7).all()
    with pytest.raises(ValueError, match=r"state\.v must not be negative"):
        fastopt.Adam(p, state=fastopt.AdamState(4, kind(m), kind(-np.ones(3))))
