"""Arrays, keys and schedules that change in the middle of things: nothing is lost or done twice."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_hostile_code import Key, new_tree
from test_optimizer_refusals import check_refused, everything

import fastopt

# NumPy deprecates some of the changes in place, and makes them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_masks_that_overlap_gradients_to_be_zeroed() -> None:
    g = np.ones(4, np.float32)
    opt = fastopt.SGD(np.zeros(4, np.float32), zero_grads=True)
    mask = g.view(np.uint8)[:4]
    message = "^SGD.step: (grads|update_mask) and (grads|update_mask) overlap in memory$"
    check_refused(opt, lambda: opt.step(g, update_mask=mask), ValueError, message)


def test_a_frozen_array_that_moved_is_not_zeroed() -> None:
    a, b = np.zeros(4), np.ones(4)
    frozen = {"params": b, "frozen": True}
    opt = fastopt.SGD([{"params": a, "lr": 1.0}, frozen], zero_grads=True)
    b.resize(100_000, refcheck=False)
    b[:] = 7
    with pytest.raises(ValueError, match=r"params\[1\] has shape \(100000,\), it had \(4,\)"):
        opt.step([b[:4], None])
    assert (b == 7).all()


def test_averages_and_parameters_that_do_not_fit_any_more() -> None:
    def spoilt(spoil: Callable[[Any], Any]) -> Any:
        p = {"a": np.array([1.0, 2.0]), "b": np.array([5.0])}
        opt = fastopt.SGD(p, lr=1.0, ema_decay=0.5)
        opt.step(copy.deepcopy(p))
        spoil(opt)
        return opt

    def reorder(opt: Any) -> None:
        opt.params["a"] = opt.params.pop("a")

    for spoil, message in [
        (lambda opt: opt.ema["b"].setflags(write=False), "the average of b is read-only"),
        (lambda opt: opt.params["b"].setflags(write=False), "b is read-only"),
        (reorder, "a is another array than when the optimizer was made"),
        (lambda opt: setattr(opt.params["a"], "dtype", np.int64), "a has shape .* int64, its aver"),
        (lambda opt: opt.params.update(c=np.ones(1)), "params has 3 arrays, it had 2 when the op"),
    ]:
        opt = spoilt(spoil)
        check_refused(opt, opt.averaged().__enter__, ValueError, f"^SGD.averaged: {message}")


def test_averages_come_out_again_whatever_happens_inside() -> None:
    p = {"a": np.array([1.0]), "b": np.array([5.0])}
    opt = fastopt.SGD(p, lr=1.0, ema_decay=0.5)
    opt.step({"a": np.ones(1), "b": np.ones(1)})
    before = everything(opt)
    with opt.averaged():
        for refused in (lambda: copy.deepcopy(opt), lambda: pickle.dumps(opt)):
            with pytest.raises(RuntimeError, match="the averages stand in place"):
                refused()
        array = p["a"]
        array.setflags(write=False)
        p["c"] = np.ones(2)
        p["a"] = p.pop("b")
    assert everything(opt) == before
    assert not array.flags.writeable


def test_another_call_while_a_step_is_under_way() -> None:
    """Code of the user's within a step: a key whose comparison makes one itself."""
    w = np.zeros(2)
    opt = fastopt.SGD({"a": w, Key("b"): np.zeros(2)}, lr=1.0)
    grads = {"a": np.ones(2), Key("b"): np.ones(2)}
    Key.hook = lambda: opt.step(grads)
    with pytest.raises(RuntimeError, match=r"^SGD.step: another call of the same optimizer is und"):
        opt.step(grads)
    assert (w.tolist(), opt.step_count) == ([0, 0], 0)
    opt.step(grads)
    assert (w.tolist(), opt.step_count) == ([-1, -1], 1)


@pytest.mark.parametrize(
    "meddle",
    [
        lambda opt: opt.accumulate(new_tree()),
        lambda opt: opt.discard_accumulated(),
        lambda opt: opt.load_state_dict(opt.state_dict()),
        lambda opt: opt.averaged().__enter__(),
        lambda opt: opt.add_group({"params": np.ones(2)}),
    ],
    ids=["accumulate", "discard_accumulated", "load_state_dict", "averaged", "add_group"],
)
def test_calls_that_change_what_a_step_uses(meddle: Callable[[Any], Any]) -> None:
    """They wait for no step: within one, or beside it in another thread, they are refused."""
    p = new_tree()
    opt = fastopt.SGD([{"params": p}], lr=1.0, ema_decay=0.5)
    Key.hook = lambda: meddle(opt)
    with pytest.raises(RuntimeError, match=r"^SGD.\w+: another call of the same optimizer is un"):
        opt.step([new_tree()])
    assert (p["first"] == 1).all()
    assert opt.step_count == 0
    opt.step([new_tree()])
    assert (p["first"] == 0).all()


def test_schedules_that_meddle() -> None:
    w = np.zeros(2)
    meddle: Any = None

    def lr(step: int) -> float:
        nonlocal meddle
        hook, meddle = meddle, None
        if hook:
            hook()
        return 1.0

    opt = fastopt.SGD(w, lr=lr, ema_decay=0.5)
    for call in (opt.step, opt.accumulate, opt.averaged().__enter__, opt.discard_accumulated):
        meddle = (lambda: call(np.ones(2))) if call in (opt.step, opt.accumulate) else call  # noqa: B023
        with pytest.raises(
            RuntimeError, match=r"^SGD.\w+: another call of the same optimizer is u"
        ):
            opt.step(np.ones(2))
        assert (w.tolist(), opt.step_count) == ([0, 0], 0)

    def replace_myself() -> None:
        opt.groups[0]["lr"] = 0.5

    meddle = replace_myself
    opt.step(np.ones(2))
    assert (w.tolist(), opt.step_count) == ([-1, -1], 1), "it was asked before"
    opt.step(np.ones(2))
    assert w.tolist() == [-1.5, -1.5]


def test_objects_that_must_not_be_exchanged() -> None:
    opt = fastopt.Adam([{"params": np.ones(2)}])
    with pytest.raises(TypeError, match="a shallow copy would share its arrays"):
        copy.copy(opt)
    with pytest.raises(AttributeError):
        opt.groups[0].state = None
    assert isinstance(opt.groups, tuple)


def test_many_groups_are_made_in_no_time() -> None:
    groups = [{"params": np.ones(2), "lr": 0.1} for _ in range(3000)]
    opt = fastopt.SGD(groups)
    opt.step([np.ones(2)] * 3000)
    assert all(group["params"][0] == 0.9 for group in groups)


class Spoiling(fastopt.AdamState):
    """Counts in a way of its own."""

    @property
    def step(self) -> int:
        return 0

    @step.setter
    def step(self, value: int) -> None:
        pass


def test_states_of_classes_of_the_users() -> None:
    class Mine(fastopt.Adam):
        _new_state = staticmethod(
            lambda params: Spoiling(0, np.zeros_like(params), np.zeros_like(params))
        )

    message = "^Mine.step: state.step must be a plain attribute, not one of Spoiling's own$"
    with pytest.raises(TypeError, match=message):
        Mine(np.ones(3))


def test_states_of_groups_that_differ() -> None:
    """Each group has the arithmetic of its own state."""
    opt = fastopt.RMSprop([{"params": np.ones(3)}])
    opt._held.new_state = lambda params: fastopt.rmsprop_init(params, centered=True)
    opt.add_group({"params": np.ones(2)})
    expected = np.ones(3), np.ones(2)
    states = fastopt.rmsprop_init(np.ones(3)), fastopt.rmsprop_init(np.ones(2), centered=True)
    for step in range(3):
        grads = np.full(3, step + 1.0), np.full(2, step - 1.0)
        opt.step(list(grads))
        for p, g, state in zip(expected, grads, states, strict=True):
            fastopt.rmsprop_step(p, g, state)
    assert [p.tolist() for p in opt.params] == [p.tolist() for p in expected]
    assert opt.groups[1].state.avg.tolist() == states[1].avg.tolist()


def test_an_array_that_refers_to_its_optimizer_goes_with_it() -> None:
    class Array(np.ndarray):
        pass

    w: Any = np.zeros(3).view(Array)
    opt = fastopt.Adam({"w": w}, ema_decay=0.5)
    opt.accumulate({"w": np.ones(3)})
    w.optimizer = opt
    gone = weakref.ref(opt)
    del w, opt
    gc.collect()
    assert gone() is None


def test_options_are_made_once() -> None:
    w = np.ones(2)
    opt = fastopt.SGD(w, lr=0.5)
    group = opt.groups[0]
    with pytest.raises(RuntimeError, match="it has been made already"):
        group.__init__("SGD", (0, 1), "sgd", dict(group), opt._held.count, [], None, ())  # type: ignore[misc]
    group["lr"] = 0.25
    opt.step(np.ones(2))
    assert w.tolist() == [0.75, 0.75]
    for nonsense in (3, [("lr", 0.1)], None):
        for call in (group._set_all, group._check):
            with pytest.raises(TypeError, match="SGD: options must be a dict, not"):
                call(nonsense)  # type: ignore[arg-type]


def test_an_option_that_refers_to_its_optimizer_goes_with_it() -> None:
    opt = fastopt.Adam({"w": np.ones(3)}, ema_decay=0.5)
    opt.groups[0]["lr"] = lambda step, own=opt: 0.1 / (1 + own.step_count)
    opt.accumulate({"w": np.ones(3)})
    opt.step()
    gone = weakref.ref(opt)
    del opt
    gc.collect()
    assert gone() is None


def test_averages_of_another_block_stay_in_place() -> None:
    """In two threads, the second that comes to swap is refused, and does not swap them back."""
    w = np.zeros(1)
    opt = fastopt.SGD(w, lr=1.0, ema_decay=0.75)
    opt.step(np.array([-1.0]))
    plan = opt._held.plan
    with opt.averaged():
        other = object()
        with pytest.raises(RuntimeError, match="the averages stand in place"):
            plan.swap_in("SGD.averaged", other, [opt.ema], "others")
        plan.swap_back("SGD.averaged", other)
        assert w.tolist() == [0.25]
    assert w.tolist() == [1]


def test_a_state_whose_class_is_changed() -> None:
    """What counts then runs nothing of the user's: the count is where it always was."""
    w = np.zeros(3000)

    class Evil(fastopt.AdamState):
        __slots__ = ()

        @property
        def step(self) -> int:
            return 0

        @step.setter
        def step(self, value: int) -> None:
            w.resize(1, refcheck=False)

    opt = fastopt.Adam(w, lr=0.5)
    opt.groups[0].state.__class__ = Evil
    opt.step(np.ones(3000))
    assert w.shape == (3000,)
    state = fastopt.AdamState(0, {"a": w * 0, Key("b"): w * 0}, {"a": w * 0, Key("b"): w * 0})
    params = {"a": w, Key("b"): w.copy()}
    Key.hook = lambda: setattr(state, "__class__", Evil)
    fastopt.adam_step(params, {key: np.ones(3000) for key in params}, state)
    assert w.shape == (3000,)
    state.__class__ = fastopt.AdamState
    assert state.step == 1


def test_a_dropout_whose_class_is_changed() -> None:
    class Evil(fastopt.Dropout):
        __slots__ = ()

        def __setattr__(self, name: str, value: Any) -> None:
            raise OSError

    drop = fastopt.Dropout(0.5, seed=1)
    p, g = new_tree(), new_tree()
    Key.hook = lambda: object.__setattr__(drop, "__class__", Evil)
    fastopt.sgd_step(p, g, drop=drop)
    assert drop.offset == 2
    with pytest.raises(
        TypeError, match=r"drop.offset must be a plain attribute, not one of Evil's"
    ):
        fastopt.sgd_step(p, g, drop=drop)
    assert drop.offset == 2


def test_schedules_that_replace_schedules() -> None:
    """All that there were when the step began are asked, once each."""
    w = np.zeros(3)
    opt = fastopt.Momentum(w, lr=1.0)
    group, asked = opt.groups[0], []

    def lr(step: int) -> float:
        if step == 3:
            group["lr"] = 1.0
        return 1.0

    def momentum(step: int) -> float:
        asked.append(step)
        return step / 100

    group["lr"], group["momentum"] = lr, momentum
    asked.clear()
    q, state = np.zeros(3), fastopt.momentum_init(w)
    for step in range(5):
        opt.step(np.ones(3))
        fastopt.momentum_step(q, np.ones(3), state, lr=1.0, momentum=step / 100)
    assert asked == [0, 1, 2, 3, 4]
    assert w.tobytes() == q.tobytes()


def test_schedules_that_freeze_groups_while_sums_wait() -> None:
    ws = [np.zeros(2), np.zeros(2)]
    opt = fastopt.SGD([{"params": w} for w in ws], lr=1.0)
    armed = False

    def lr(step: int) -> float:
        if armed:
            opt.groups[1]["frozen"] = True
        return 1.0

    opt.groups[0]["lr"] = lr
    opt.accumulate([np.ones(2)] * 2)
    armed = True
    with pytest.raises(ValueError, match=r"params\[1\] is frozen, and was not when gradients"):
        opt.step()
    assert opt.step_count == 0
    armed, opt.groups[1]["frozen"] = False, False
    opt.step()
    assert [w.tolist() for w in ws] == [[-1, -1], [-1, -1]]


def test_schedules_that_set_the_count() -> None:
    opt = fastopt.SGD(np.zeros(1))

    def lr(step: int) -> float:
        if step == 1:
            opt.step_count = 100
        return 1.0

    opt.groups[0]["lr"] = lr
    opt.step(np.ones(1))
    with pytest.raises(RuntimeError, match=r"SGD.step: a schedule has changed the count of steps"):
        opt.step(np.ones(1))
    assert opt.params.tolist() == [-1]


def test_accumulation_asks_no_schedule_that_it_does_not_use() -> None:
    asked: list[int] = []

    def clip_norm(step: int) -> float:
        asked.append(step)
        return 1.0

    opt = fastopt.SGD(np.zeros(1), clip_norm=clip_norm)
    asked.clear()
    opt.accumulate(np.ones(1))
    assert asked == []
    opt.step()
    assert asked == [0]


def test_options_go_with_their_optimizer_alone() -> None:
    opt = fastopt.SGD(np.zeros(1))
    for options in (opt.options, opt.groups[0]):
        for call in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="belongs to its optimizer"):
                call(options)
    with pytest.raises(TypeError, match=r"^SGD: lr must be a number, not Dropout$"):
        opt.groups[0]["lr"] = fastopt.Dropout(0.5, seed=1)
