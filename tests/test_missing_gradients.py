"""None in place of a gradient leaves an array out, and its count of updates stays behind."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from cases import (
    ALONE,
    CASES,
    DTYPES,
    PLAIN_CASES,
    STATE_CASES,
    Case,
    all_of,
    around,
    arrays_of,
    assert_same_bits,
    filled_terms,
    random_like,
    randomize_state,
)
from terms import ENTRY_TERMS, TERMS
from test_optimizers import make, tree

import fastopt
from fastopt import reference
from fastopt.tree import map_tree, names, zip_trees


def with_gaps(params: Any, rng: np.random.Generator, share: float = 0.5) -> Any:
    """Return gradients of which some are None, single ones and whole branches."""
    grads = random_like(params, rng)

    def cut(node: Any) -> Any:
        if rng.random() < share / 2:
            return None
        if isinstance(node, dict):
            return {key: cut(child) for key, child in node.items()}
        if isinstance(node, list):
            return [cut(child) for child in node]
        return None if rng.random() < share / 2 else node

    return {key: cut(child) for key, child in grads.items()}


def counts(state: Any, params: Any) -> list[int]:
    return [step for _, step in zip_trees(params, state.step)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("case", "terms"), around(CASES, [*TERMS, *ENTRY_TERMS]))
def test_functions_equal_the_reference(
    case: Case, terms: dict[str, Any], dtype: type, rng: np.random.Generator
) -> None:
    params = tree(dtype, rng)
    expected, state = copy.deepcopy(params), case.new_state(params)
    if state is not None:
        randomize_state(state, rng)
    expected_state = copy.deepcopy(state)
    terms = filled_terms(terms, params, rng)
    expected_terms = copy.deepcopy(terms)
    for _ in range(6):
        grads = with_gaps(params, rng)
        expected_grads = copy.deepcopy(grads)
        result = case.step(params, grads, state, **terms)
        with np.errstate(all="ignore"):
            wanted = case.reference_step(expected, expected_grads, expected_state, **expected_terms)
        assert result == wanted
        assert terms.get("drop") == expected_terms.get("drop")
        assert_same_bits(params, expected)
        assert_same_bits(terms.get("ema", []), expected_terms.get("ema", []))
        assert_same_bits(grads, expected_grads)
        assert_same_bits(all_of(state), all_of(expected_state))
        assert state is None or state.step == expected_state.step


@pytest.mark.parametrize("case", ALONE, ids=str)
def test_every_array_is_as_if_it_were_alone(case: Case, rng: np.random.Generator) -> None:
    """Not even the reference is needed: each array has a state of its own, and steps of its own."""
    params = tree(np.float64, rng)
    alone = [copy.deepcopy(array) for array in arrays_of(params)]
    state, states = case.new_state(params), [case.new_state(array) for array in alone]
    expected = [0] * len(alone)
    for _ in range(8):
        grads = with_gaps(params, rng)
        case.step(params, grads, state)
        for k, (_, grad) in enumerate(zip_trees(params, grads)):
            if grad is not None:
                case.step(alone[k], grad, states[k])
                expected[k] += 1
        assert_same_bits(arrays_of(params), alone)
        if state is not None:
            assert counts(state, params) == expected
    for i, got in enumerate(all_of(state)):
        assert_same_bits(arrays_of(got), [all_of(each)[i] for each in states])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 0.5, "skip_nonfinite": True},
        {"ema_decay": 0.75, "weight_decay": 0.1, "zero_grads": True},
        {"ema_decay": 0.75, "ema_debias": True},
        {"drop": 0.3, "l1_prox": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_objects_equal_functions(
    case: Case, options: dict[str, Any], dtype: type, rng: np.random.Generator
) -> None:
    params = tree(dtype, rng)
    made = filled_terms(options, params, rng)
    opt = make(case, params, **copy.deepcopy(made))
    expected, state = copy.deepcopy(params), case.new_state(params)
    debias = made.pop("ema_debias", False)
    if "ema_decay" in made:
        made["ema"] = copy.deepcopy(params)
    weights = [0.0] * len(arrays_of(params))
    for _ in range(6):
        grads = with_gaps(params, rng)
        assert opt.step(copy.deepcopy(grads)) == case.step(expected, grads, state, **made)
        if debias:  # array by array: the average of the parameters of those steps that it had
            for k, (p, grad) in enumerate(zip_trees(expected, grads)):
                if grad is not None:
                    check_debiased(weights, k, arrays_of(opt.ema)[k], p)
        elif "ema" in made:
            assert_same_bits(opt.ema, made["ema"])
        assert_same_bits(params, expected)
        (group,) = opt.groups
        if state is not None:
            assert group._steps() == counts(state, params)
            assert_same_bits(all_of(group.state), all_of(state))


def check_debiased(weights: list[float], k: int, average: Any, p: Any) -> None:
    """After the first of its steps the average is that parameter; its start is not in it."""
    if weights[k] == 0.0:
        np.testing.assert_array_equal(average, p)
    weights[k] = 1.0


def test_a_single_array_needs_its_gradient() -> None:
    with pytest.raises(ValueError, match="grads is None, and no gradients were accumulated"):
        fastopt.SGD(np.ones(2)).step()
    with pytest.raises(TypeError, match="grads must be a NumPy array, not NoneType"):
        fastopt.sgd_step(np.ones(2), None)
    with pytest.raises(TypeError, match="grads must be a dict like params, not NoneType"):
        fastopt.sgd_step({"w": np.ones(2)}, None)
    with pytest.raises(TypeError, match=r"params\['w'\] must be a NumPy array, not NoneType"):
        fastopt.sgd_step({"w": None}, {"w": None})


def test_without_any_gradient_nothing_changes() -> None:
    params = {"w": np.ones(2), "b": np.ones(1)}
    state = fastopt.adam_init(params)
    nothing = {"w": None, "b": None}
    fastopt.adam_step(params, nothing, state, weight_decay=0.5)
    assert state.step == 0
    opt = fastopt.Adam(params, weight_decay=0.5, ema_decay=0.5, clip_norm=1.0)
    assert opt.step(nothing) == fastopt.StepResult(False, 0.0, None)
    assert opt.groups[0].state.step == 0
    assert opt.step_count == 1  # what schedules see
    assert_same_bits(params, {"w": np.ones(2), "b": np.ones(1)})


def test_the_count_is_an_int_where_all_agree() -> None:
    params = {"w": np.ones(2), "b": [np.ones(1), np.ones(3)]}
    g = map_tree(np.ones_like, params)
    state = fastopt.adam_init(params)
    fastopt.adam_step(params, {**g, "b": None}, state)
    assert state.step == {"w": 1, "b": [0, 0]}
    fastopt.adam_step(params, {**g, "w": None}, state)
    assert state.step == 1
    state.step = {"w": 5, "b": [2, 3]}
    fastopt.adam_step(params, g, state)
    assert state.step == {"w": 6, "b": [3, 4]}
    state.step = 9
    fastopt.adam_step(params, g, state)
    assert state.step == 10
    opt = fastopt.Adam(params)
    opt.step({**g, "w": None})
    assert opt.groups[0].state.step == (0, 1, 1)
    opt.groups[0].state.step = 4
    opt.step(g)
    assert opt.groups[0].state.step == 5


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"w": 1}, r"adam_step: state\.step has no entry 'b', which params has"),
        ({"w": 1, "b": -1}, r"0 <= state\.step\['b'\] < 2\*\*53 must hold, it is -1"),
        ({"w": 1, "b": 2.0}, r"state\.step\['b'\] must be an int, not float"),
        ({"w": 1, "b": True}, r"state\.step\['b'\] must be an int, not bool"),
        ([1, 2], r"adam_step: state\.step must be a dict like params, not list"),
    ],
    ids=str,
)
def test_wrong_counts_of_a_function(step: Any, message: str) -> None:
    params = {"w": np.ones(2), "b": np.ones(1)}
    state = fastopt.adam_init(params)
    state.step = step
    with pytest.raises((TypeError, ValueError), match=message):
        fastopt.adam_step(params, map_tree(np.ones_like, params), state)
    assert state.step == step
    assert_same_bits(params, {"w": np.ones(2), "b": np.ones(1)})


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ((1,), r"Adam\.step: state\.step must be an int, or a tuple with one for each array"),
        ((1, 2, 3), r"Adam\.step: state\.step must be an int, or a tuple with one for each array"),
        ([1, 2], r"Adam\.step: state\.step must be an int, or a tuple with one for each array"),
        ((1, -2), r"0 <= state\.step\[1\] < 2\*\*53 must hold, it is -2"),
        ((1, "2"), r"state\.step\[1\] must be an int, not str"),
    ],
    ids=str,
)
def test_wrong_counts_of_an_object(step: Any, message: str) -> None:
    params = {"w": np.ones(2), "b": np.ones(1)}
    opt = fastopt.Adam(params)
    opt.groups[0].state.step = step
    with pytest.raises((TypeError, ValueError), match=message):
        opt.step(map_tree(np.ones_like, params))
    assert opt.groups[0].state.step == step
    assert_same_bits(params, {"w": np.ones(2), "b": np.ones(1)})


def test_what_is_left_out_is_in_no_norm() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    opt = fastopt.SGD(params, lr=1.0, clip_norm=5.0, clip_eps=0.0)
    assert opt.step({"w": np.array([3.0, 4.0]), "b": None}).grad_norm == 5.0
    assert_same_bits(params, {"w": np.array([-3.0, -4.0]), "b": np.zeros(2)})


def test_what_is_left_out_may_be_read_only_but_not_replaced() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    opt = fastopt.Adam(params)
    params["b"].flags.writeable = False
    opt.step({"w": np.ones(2), "b": None})
    params["b"] = np.zeros(2)
    with pytest.raises(ValueError, match=r"params\['b'\] is another array"):
        opt.step({"w": np.ones(2), "b": None})


def test_counts_that_differ_look_like_a_tuple(rng: np.random.Generator) -> None:
    params: list[Any] = [np.zeros(2) for _ in range(7)]
    opt = fastopt.Adam(params)
    counts = [0] * 7
    for _ in range(12):
        takes_part = rng.random(7) < 0.6
        opt.step([np.ones(2) if takes else None for takes in takes_part])
        counts = [count + takes for count, takes in zip(counts, takes_part.tolist(), strict=True)]
    found, wanted = opt.groups[0].state.step, tuple(counts)
    assert type(found) is not tuple
    assert (found == wanted) & (wanted == found) & (found != (1,)) & (found < (*wanted, 1))
    assert (repr(found), hash(found), len(found)) == (repr(wanted), hash(wanted), 7)
    assert ([*found], found[2], found[-1], found[1:4]) == (
        counts,
        *(wanted[i] for i in (2, -1)),
        wanted[1:4],
    )
    assert max(found) == max(wanted)
    assert ([*reversed(found)], np.asarray(found).tolist()) == (counts[::-1], counts)
    assert max(wanted) in found
    assert 99 not in found
    with pytest.raises(IndexError):
        found[7]
    with pytest.raises(TypeError, match="cannot create"):
        type(found)()
    for each in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert (type(each), each) == (tuple, wanted)
    again = copy.deepcopy(opt)
    again.groups[0].state.step = wanted
    own, adopted = (copy.deepcopy(tuple(params)) for _ in range(2))
    state, moments = (copy.deepcopy(opt.groups[0].state) for _ in range(2))
    moments.step = found
    adopts = fastopt.Adam(adopted, state=moments)
    state.step = found  # of a function it becomes a tree
    for _ in range(2):
        for each in (opt, again):
            each.step([np.ones(2)] * 7)
        adopts.step((np.ones(2),) * 7)
        fastopt.adam_step(own, (np.ones(2),) * 7, state)
    for each in (opt, again, adopts):
        assert each.groups[0].state.step == tuple(count + 2 for count in counts)
    assert state.step == opt.groups[0].state.step
    assert found == wanted  # which does not change
    assert_same_bits(again.params, params)
    assert_same_bits(list(adopted), params)
    assert_same_bits(list(own), params)
    state.step = found
    reference.adam_step(own, (np.ones(2),) * 7, state)
    assert state.step == tuple(count + 1 for count in counts)


def test_a_skipped_step_leaves_counts_as_they_were() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    opt = fastopt.Adam(params, skip_nonfinite=True)
    assert opt.step({"w": np.array([1.0, np.nan]), "b": None}).skipped
    assert opt.groups[0].state.step == 0
    opt.step({"w": np.ones(2), "b": None})
    assert opt.step({"w": np.array([1.0, np.nan]), "b": np.ones(2)}).skipped
    assert opt.groups[0].state.step == (1, 0)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_states_go_through_checkpoints(case: Case, tmp_path: Any, rng: np.random.Generator) -> None:
    params = tree(np.float32, rng)
    options = {"ema_decay": 0.5, "ema_debias": True}
    opt = make(case, params, **options)
    for _ in range(4):
        opt.step(with_gaps(params, rng))
    fastopt.save(tmp_path / "run", params=params, optimizer=opt)
    other = map_tree(np.zeros_like, params)
    again = make(case, other, **options)
    fastopt.load(tmp_path / "run", params=other, optimizer=again)
    for _ in range(4):
        grads = with_gaps(params, rng)
        opt.step(grads)
        again.step(grads)
    assert_same_bits(other, params)
    assert_same_bits(again.ema, opt.ema)
    assert again.groups[0]._steps() == opt.groups[0]._steps()
    assert copy.deepcopy(opt).groups[0]._steps() == opt.groups[0]._steps()


def test_gradients_that_are_added_up() -> None:
    """An array that never had a gradient is left out; else None adds nothing to its sum."""
    params = {"w": np.zeros(2), "b": np.zeros(2), "c": np.zeros(2)}
    opt = fastopt.SGD(params, lr=1.0, weight_decay=0.0)
    adam = fastopt.Adam(copy.deepcopy(params))
    for grads in (
        {"w": np.ones(2), "b": None, "c": None},
        {"w": np.ones(2), "b": np.ones(2), "c": None},
    ):
        opt.accumulate(grads)
        adam.accumulate(grads)
    saved = copy.deepcopy(adam.state_dict())
    assert saved["accumulated"]["sum"]["c"] is None
    opt.step()
    assert_same_bits(params, {"w": -np.ones(2), "b": np.full(2, -0.5), "c": np.zeros(2)})
    again = fastopt.Adam(copy.deepcopy(adam.params))
    again.load_state_dict(saved)
    for each in (adam, again, copy.deepcopy(adam)):
        each.step()
        assert each.groups[0].state.step == (1, 1, 0)
        each.step({"w": None, "b": None, "c": np.ones(2)})
        assert each.groups[0].state.step == 1
    assert_same_bits(adam.params, again.params)


def test_many_counts(rng: np.random.Generator) -> None:
    params = [rng.standard_normal(3) for _ in range(60)]
    opt, alone = fastopt.Adam(params), [fastopt.Adam(p.copy()) for p in params]
    for _ in range(70):
        grads = [None if rng.random() < 0.3 else rng.standard_normal(3) for _ in params]
        opt.step(grads)
        for each, grad in zip(alone, grads, strict=True):
            if grad is not None:
                each.step(grad)
    assert len(set(opt.groups[0].state.step)) > 10
    assert_same_bits(params, [each.params for each in alone])
    assert names("here", params)[3] == "3"


def test_a_tree_that_comes_to_contain_itself() -> None:
    inner: list[Any] = []
    armed = False

    class Key(str):
        __slots__ = ()

        def __hash__(self) -> int:
            if armed:
                inner[:] = [inner]
            return 7

        def __eq__(self, other: object) -> bool:
            return self is other

    key = Key("k")
    params, grads = (
        {key: np.ones(4), "i": inner, "b": np.ones(4)},
        {key: np.ones(4), "i": [], "b": None},
    )
    state = fastopt.adam_init(params)
    armed = True
    with pytest.raises(ValueError, match="adam_step: params changed while it was read"):
        fastopt.adam_step(params, grads, state)
    assert state.step == 0
