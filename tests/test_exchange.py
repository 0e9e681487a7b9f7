"""Other arrays in the place of the parameters, and new entries."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import STATE_CASES, Case, arrays_of, assert_same_bits, random_like
from test_optimizers import make, tree

import fastopt
from fastopt.tree import map_tree


def other_order(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: other_order(node[key]) for key in reversed(node)}
    return [other_order(child) for child in node] if isinstance(node, list) else node


def sorted_arrays(node: Any) -> list[Any]:
    if isinstance(node, np.ndarray):
        return [node]
    children = [node[key] for key in sorted(node)] if isinstance(node, dict) else node
    return [array for child in children for array in sorted_arrays(child)]


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.5, "ema_debias": True}], ids=str)
@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_all_parameters_are_exchanged(
    case: Case, options: dict[str, Any], rng: np.random.Generator
) -> None:
    """As if their values had been written into the old arrays."""
    params = tree(np.float32, rng)
    opt, other = make(case, params, **options), make(case, copy.deepcopy(params), **options)
    for turn in range(5):
        if turn in (2, 3):  # the second time the same arrays
            new = other_order(random_like(params, rng)) if turn == 2 else opt.params
            for to, array in zip(sorted_arrays(other.params), sorted_arrays(new), strict=True):
                to[...] = array
            old, values = opt.params, copy.deepcopy(opt.params)
            grads = random_like(other.params, rng)
            opt.step(copy.deepcopy(grads), params=new)
            other.step(grads)
            assert opt.params is new
            if turn == 2:
                assert_same_bits(old, values)
        else:
            grads = random_like(params, rng)
            opt.step(copy.deepcopy(grads))
            other.step(grads)
        assert_same_bits(sorted_arrays(opt.params), sorted_arrays(other.params))
        if options:
            assert_same_bits(sorted_arrays(opt.ema), sorted_arrays(other.ema))
    assert sorted(opt.names) == sorted(other.names)
    assert opt.groups[0].params[0] is arrays_of(opt.params)[0]


def test_arrays_replaced_in_the_same_tree() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    opt = fastopt.Adam(params, lr=0.5)
    params["w"] = np.ones(2)
    with pytest.raises(ValueError, match=r"^Adam\.step: params\['w'\] is another array"):
        opt.step({"w": np.ones(2), "b": np.ones(2)})
    opt.step({"w": np.ones(2), "b": np.ones(2)}, params=params)
    np.testing.assert_allclose(params["w"], 0.5)


def test_a_lone_array() -> None:
    opt = fastopt.Momentum(np.zeros(2), lr=1.0, momentum=0.5)
    opt.step(np.ones(2))
    w = np.full(2, 7.0)
    opt.step(np.ones(2), params=w)
    assert w.tolist() == [5.5, 5.5]
    assert opt.params is w


WRONG: list[tuple[Any, type[Exception], str]] = [
    ({"w": np.ones(2)}, ValueError, "Adam.step: params has no 'b', which the optimizer has"),
    ({"w": np.ones(3), "b": np.ones(2)}, ValueError, r"'w' of params has shape \(3,\), the optimi"),
    ({"w": np.ones(2, "f4"), "b": np.ones(2)}, TypeError, "'w' of params has dtype float32, the"),
    ({"w": [1.0], "b": np.ones(2)}, TypeError, r"Adam.step: params\['w'\]\[0\] must be a NumPy ar"),
    ([np.ones(2), np.ones(2)], ValueError, "Adam.step: params has no 'w', which the optimizer"),
    (
        {"w": (same := np.ones(2)), "b": same},
        ValueError,
        r"params\['w'\] and params\['b'\] overlap",
    ),
    (3, TypeError, "Adam.step: params must be a NumPy array"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_what_does_not_fit(wrong: Any, error: type[Exception], message: str) -> None:
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    opt = fastopt.Adam(params, ema_decay=0.5)
    opt.step(map_tree(np.ones_like, params))
    before = repr((params, opt.state_dict(), opt))
    with pytest.raises(error, match=message):
        opt.step(map_tree(np.ones_like, params), params=wrong)
    assert repr((params, opt.state_dict(), opt)) == before
    opt.step(map_tree(np.ones_like, params))
    assert opt.groups[0].state.step == 2


@pytest.mark.parametrize("grown", [False, True])
def test_a_step_that_is_refused_undoes_the_exchange(grown: bool) -> None:
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    opt = fastopt.Adam(params, ema_decay=0.5)
    opt.accumulate(map_tree(np.ones_like, params))
    opt.step()
    before = repr((opt.params, opt.state_dict(), opt, opt.groups[0].state))
    new = {"b": np.ones(2), "w": np.ones(2)} | ({"c": np.ones(1)} if grown else {})
    for grads, more in [
        ({"w": np.ones(3), "b": np.ones(2), "c": np.ones(1)}, {}),
        (map_tree(np.ones_like, new), {"lr": -1.0}),
        (map_tree(np.ones_like, new), {"lrr": 1.0}),
        (new, {}),
        (None, {}),
    ]:
        with pytest.raises((TypeError, ValueError)):
            opt.step(grads, params=new, **more)
        assert opt.params is params
        assert repr((opt.params, opt.state_dict(), opt, opt.groups[0].state)) == before
    assert new["w"].tolist() == [1, 1]
    opt.step(map_tree(np.ones_like, params))
    opt.accumulate(map_tree(np.ones_like, params))
    opt.step()


def test_gradients_that_wait_go_with_their_names() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(1), "c": np.zeros(1)}
    opt = fastopt.SGD(params, lr=1.0)
    opt.accumulate({"w": np.full(2, 2.0), "b": np.full(1, 3.0), "c": None})
    new = {"c": np.zeros(1), "b": np.zeros(1), "w": np.zeros(2)}
    new["d"] = np.zeros(1)  # which never had a gradient
    opt.step(params=new)
    assert [new[name].tolist() for name in "wbcd"] == [[-2, -2], [-3], [0], [0]]
    opt.accumulate(map_tree(np.ones_like, new))
    opt.step()
    assert new["c"].tolist() == [-1]


@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_a_model_that_grows(case: Case, rng: np.random.Generator) -> None:
    """The old arrays go on as they would, the new ones as if they began now."""
    old, added = tree(np.float64, rng), tree(np.float64, rng)
    expected = copy.deepcopy((old, added))
    opt = make(case, old, ema_decay=0.5)
    states = [case.new_state(each) for each in expected]
    grads = [random_like(old, rng) for _ in range(4)]
    averages = copy.deepcopy(expected)
    for turn, g in enumerate(grads):
        both = {"new": added, **old} if turn >= 2 else old
        opt.step({"new": g, **g} if turn >= 2 else g, params=both if turn >= 2 else None)
        for k, (p, state) in enumerate(zip(expected, states, strict=True)):
            if k == 0 or turn >= 2:
                case.step(p, g, state, ema=averages[k], ema_decay=0.5)
    assert_same_bits([old, added], list(expected))
    assert_same_bits(opt.ema["new"], averages[1])
    assert_same_bits({key: opt.ema[key] for key in old}, averages[0])
    if states[0] is not None:
        count = len(arrays_of(added))
        assert opt.groups[0]._steps() == [2] * count + [4] * count


def test_new_entries_join_the_group_of_their_name() -> None:
    params = {"l0": {"w": np.zeros(2), "b": np.zeros(1)}}
    patterns = {"*.b": {"lr": 0.5}, "head.*": {"lr": 0.25}, "l0.*": {}}
    with pytest.raises(ValueError, match=r"'head\.\*'\] matches none of the names"):
        fastopt.groups(params, patterns)
    del patterns["head.*"]
    opt = fastopt.SGD(fastopt.groups(params, patterns), lr=1.0)
    groups = [opt.groups["*.b"], opt.groups[1]]
    params["l1"] = {"w": np.zeros(2), "b": np.zeros(1)}
    params["l0"]["more"] = np.zeros(3)
    opt.step(map_tree(np.ones_like, params), params=params)
    assert [group.names for group in opt.groups] == [
        ("l0.b",),
        ("l0.w", "l0.more"),
        ("l1.w",),
        ("l1.b",),
    ]
    assert [opt.groups[0], opt.groups[1]] == groups, "who holds a group holds it still"
    assert [group["lr"] for group in opt.groups] == [0.5, 1.0, 1.0, 0.5]
    assert params["l1"]["b"].tolist() == [-0.5]
    opt.groups["*.b"]["lr"] = 2.0
    assert [group["lr"] for group in opt.groups] == [2.0, 1.0, 1.0, 2.0]
    groups[1]["lr"] = 4.0
    opt.step(map_tree(np.ones_like, params))
    assert params["l0"]["more"].tolist() == [-5, -5, -5]


def test_a_list_of_groups_grows_in_its_branches() -> None:
    trees: list[Any] = [{"w": np.zeros(2)}, {"w": np.zeros(2)}]
    opt = fastopt.Adam([{"params": trees[0], "lr": 0.5}, {"params": trees[1]}])
    opt.step(map_tree(np.ones_like, trees))
    new = [trees[0], {"v": np.zeros(1), **trees[1]}]
    opt.step(map_tree(np.ones_like, new), params=new)
    assert [group.names for group in opt.groups] == [("0.w",), ("1.v", "1.w")]
    assert opt.groups[1].state.step == (1, 2)
    for wrong in ([trees[0]], [*new, {"w": np.ones(1)}], {"w": np.ones(2)}):
        with pytest.raises(ValueError, match="params must be a list of 2 trees, one for each gr"):
            opt.step(map_tree(np.ones_like, new), params=wrong)


def test_frozen_arrays_stay_frozen() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(1)}
    opt = fastopt.SGD(params, lr=1.0)
    opt.freeze("b")
    new = {"b": np.ones(1), "c": np.ones(1), "w": np.ones(2)}
    opt.step(map_tree(np.ones_like, new), params=new)
    assert opt.frozen == ("b",)
    assert (new["b"].tolist(), new["c"].tolist()) == ([1], [0])


def test_models_that_are_dataclasses_grow() -> None:
    @dataclass
    class Layer:
        w: Any

    @dataclass
    class Model:
        layers: list[Layer]

    model = Model([Layer(np.zeros(2))])
    opt = fastopt.Adam(model, ema_decay=0.5)
    model.layers.append(Layer(np.zeros(3)))
    opt.step({"layers": [{"w": np.ones(2)}, {"w": np.ones(3)}]}, params=model)
    assert opt.names == ("layers.0.w", "layers.1.w")
    assert isinstance(opt.ema, Model)
    model.layers[0].w = np.full(2, 3.0)
    opt.step(Model([Layer(np.ones(2)), Layer(None)]), params=model)
    assert opt.groups[0].state.step == (2, 1)
    np.testing.assert_allclose(model.layers[0].w, 3 - 1e-3)


def test_exchange_is_no_way_round_averages() -> None:
    opt = fastopt.SGD({"w": np.zeros(2)}, ema_decay=0.5)
    with opt.averaged(), pytest.raises(RuntimeError, match="the averages stand in place of the pa"):
        opt.step({"w": np.ones(2)}, params={"w": np.ones(2)})


# Other trees, and calls that come in between


def test_another_tree_with_the_same_arrays_is_the_one_that_counts() -> None:
    w = np.ones(2)
    first, second = {"w": w}, {"w": w}
    opt = fastopt.SGD(first)
    with pytest.raises(ValueError, match="lr must be finite"):
        opt.step({"w": np.ones(2)}, params=second, lr=-1.0)
    assert opt.params is first
    opt.step({"w": np.ones(2)}, params=second)
    assert opt.params is second
    second["w"] = np.zeros(2)
    with pytest.raises(ValueError, match=r"params\['w'\] is another array"):
        opt.step({"w": np.ones(2)})
    assert copy.deepcopy(opt).names == ("w",)


def test_the_same_arrays_in_another_order() -> None:
    w, b = np.zeros(2), np.zeros(1)
    opt = fastopt.Adam({"w": w, "b": b}, lr=0.5)
    opt.step({"w": np.ones(2), "b": None})
    opt.step({"w": None, "b": np.ones(1)}, params={"b": b, "w": w})
    assert (opt.names, opt.groups[0].state.step) == (("b", "w"), 1)
    np.testing.assert_allclose([*w, *b], -0.5)


def test_states_do_not_go_by_places() -> None:
    layers = [{"w": np.zeros(2)}, {"w": np.zeros(2)}]
    opt = fastopt.SGD(layers, ema_decay=0.5)
    layers.insert(0, {"w": np.ones(2)})
    message = r"'1\.w' of params is the array that was '0\.w', and states go by names"
    with pytest.raises(ValueError, match=message):
        opt.step(map_tree(np.ones_like, layers), params=layers)


def test_parameters_can_be_set_without_a_step() -> None:
    params = {"w": np.zeros(2)}
    opt = fastopt.SGD(params, lr=1.0, ema_decay=0.5)
    params["w"] = np.full(2, 4.0)
    opt.params = params
    opt.reset_averages()
    assert opt.ema["w"].tolist() == [4, 4]
    assert opt.step_count == 0
    with pytest.raises(ValueError, match=r"^SGD\.params: params has no 'w', which the opti"):
        opt.params = {"v": np.ones(2)}
    opt.step({"w": np.ones(2)})
    assert params["w"].tolist() == [3, 3]


def test_no_other_call_comes_in_between() -> None:
    """Code that an exchange runs cannot step with the parameters that are to be refused."""
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    opt = fastopt.Adam(params, lr=0.5)
    refused = []

    class Nosy(str):
        __slots__ = ()

        def __hash__(self) -> int:
            try:
                opt.step(map_tree(np.ones_like, params))
            except RuntimeError as error:
                refused.append(str(error))
            except (TypeError, ValueError, AttributeError):
                pass
            return hash("w")

    opt.accumulate(map_tree(np.ones_like, params))
    key = Nosy("w")
    refused.clear()
    before = opt.groups[0].state.step, opt.step_count
    with pytest.raises(ValueError, match="grad_scale"):
        opt.step(params={key: np.ones(2), "b": np.ones(2)}, grad_scale=float("nan"))
    assert any("another call of the same optimizer is under way" in said for said in refused)
    assert (opt.groups[0].state.step, opt.step_count) == before
    assert params["w"].tolist() == [0, 0]


def test_an_interrupt_undoes_what_was_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    opt = fastopt.Adam({"w": np.zeros(2)})
    new = {"w": np.ones(2)}

    class Turn:
        """One whose step is interrupted right after it was made."""

        def __init__(self, turn: Any) -> None:
            self.turn = turn

        def __enter__(self) -> Any:
            self.turn.__enter__()
            return self

        def __exit__(self, *error: object) -> None:
            self.turn.__exit__(*error)

        def step(self, plan: Any, arguments: Any) -> None:
            self.turn.step(plan, arguments)
            raise KeyboardInterrupt

    class Plan:
        def __init__(self, plan: Any) -> None:
            self.plan = plan

        def __getattr__(self, name: str) -> Any:
            return getattr(self.plan, name)

        def turn(self, where: str) -> Any:
            return Turn(self.plan.turn(where))

    monkeypatch.setattr(opt._held, "plan", Plan(opt._held.plan))
    with pytest.raises(KeyboardInterrupt):
        opt.step({"w": np.ones(2)}, params=new)
    assert opt.params is new
    assert (opt.step_count, opt.groups[0].state.step) == (1, 1)


def test_new_entries_of_a_frozen_group_do_not_disturb_what_waits() -> None:
    trees = [{"w": np.zeros(1)}, {"w": np.zeros(1)}]
    opt = fastopt.SGD([{"params": trees[0]}, {"params": trees[1], "frozen": True}], lr=1.0)
    opt.accumulate([{"w": np.ones(1)}, None])
    trees[1]["b"] = np.zeros(1)
    opt.step(params=trees)
    assert (trees[0]["w"].tolist(), trees[1]["b"].tolist()) == ([-1], [0])
