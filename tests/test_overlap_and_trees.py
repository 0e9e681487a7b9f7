"""Memory that overlaps, and trees that are not what they seem: refused, or treated rightly."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, arrays_of, state_arrays
from numpy.lib.stride_tricks import as_strided
from refused import check_refused, scene

import fastopt
from fastopt import reference

every_rule = pytest.mark.parametrize("case", PLAIN_CASES, ids=str)


def test_overlap_of_outputs() -> None:
    case = Case("adam")
    buffer = np.zeros(100)
    for first, second in [
        (buffer, buffer),
        (buffer[:50], buffer[49:]),
        (buffer[10:20], buffer),
        (buffer[::2], buffer[2::3]),
        (buffer.reshape(10, 10), buffer.reshape(10, 10).T),
        (buffer[::-1], buffer[:1]),
        (buffer[:50], np.frombuffer(buffer.data, np.float64)[49:]),
        (buffer.view(np.float32)[:9], buffer[4:]),
    ]:
        for extra in (0, 12):  # with few arrays every pair is compared, with many they are sorted
            params = [first, *(np.zeros(3) for _ in range(extra)), second]
            grads = [np.ones_like(p) for p in params]
            state = fastopt.adam_init(grads)
            message = (
                rf"(params\[0\] and params\[{extra + 1}\]|params\[{extra + 1}\] and params\[0\]) "
            )
            check_refused(case, params, grads, state, ValueError, message + "overlap in memory")


@every_rule
@pytest.mark.parametrize("entries", [1, 30])
def test_overlap_of_an_output_with_an_input(case: Case, entries: int) -> None:
    def trees() -> tuple[list, list, Any]:
        params = [np.full(7, float(i)) for i in range(entries)]
        grads = [np.full(7, float(i)) for i in range(entries)]
        return params, grads, case.new_state(params)

    last = entries - 1
    params, grads, state = trees()
    grads[last] = params[last]
    names = rf"(params\[{last}\] and grads\[{last}\]|grads\[{last}\] and params\[{last}\])"
    check_refused(case, params, grads, state, ValueError, names + " overlap in memory")
    grads[last] = params[last][::-1]
    check_refused(case, params, grads, state, ValueError, names + " overlap in memory")
    params, grads, state = trees()
    for tree in state_arrays(state):
        tree[last] = grads[last]
        check_refused(case, params, grads, state, ValueError, ".* overlap in memory")
    params, grads, state = trees()
    if entries > 1:
        grads[0] = grads[1]
        check_refused(
            case, params, grads, state, ValueError, ".* overlap in memory", zero_grads=True
        )
    mask = [np.ones(7, bool) for _ in params]
    mask[0] = params[0].view(np.uint8)[:7]
    check_refused(case, params, trees()[1], state, ValueError, ".* overlap in memory", mask=mask)


def test_check_params_finds_overlap_too() -> None:
    a = np.zeros(5)
    with pytest.raises(ValueError, match=r"adam_init: params\['x'\] and params\['y'\] overlap"):
        fastopt.adam_init({"x": a, "y": a})


@every_rule
def test_arrays_that_overlap_themselves(case: Case) -> None:
    base = np.zeros(40)
    for view in (
        as_strided(base, (3, 4), (0, 8)),
        as_strided(base, (3, 4), (8, 8)),
        as_strided(base, (3, 4), (8, 16)),
        as_strided(base[20:], (3, 4), (-8, 8)),
    ):
        params, grads, state = scene(case)
        params["w"] = view
        message = r"params\['w'\] overlaps itself in memory \(shape \(3, 4\), strides"
        check_refused(case, params, grads, state, ValueError, message)
        params, grads, state = scene(case)
        grads["w"] = view
        message = message.replace("params", "grads")
        check_refused(case, params, grads, state, ValueError, message, zero_grads=True)


def test_an_array_that_contains_itself_is_no_crash() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="sgd_step: params is nested more than 100 deep"):
        fastopt.sgd_step(loop, loop)


def test_a_dict_that_changes_while_it_is_read() -> None:
    class Key(str):
        def __eq__(self, other: object) -> bool:
            params.pop("z", None)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    params = {"a": np.zeros(2), "z": np.zeros(2)}
    grads = {Key("a"): np.ones(2), Key("z"): np.ones(2)}
    with pytest.raises((ValueError, RuntimeError), match=r"sgd_step: .*(changed while|no entry)"):
        fastopt.sgd_step(params, grads)
    assert params["a"].tolist() == [0, 0]


def test_a_step_within_the_checks_of_a_step() -> None:
    inner = np.zeros(2)

    class Key(str):
        def __eq__(self, other: object) -> bool:
            fastopt.sgd_step(inner, np.ones(2), lr=1.0)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    params = {"a": np.zeros(2)}
    fastopt.sgd_step(params, {Key("a"): np.ones(2)}, lr=1.0)
    assert params["a"].tolist() == [-1, -1]
    assert (inner < 0).all()


def test_dicts_with_a_mind_of_their_own() -> None:
    class Doubling(dict):
        def __getitem__(self, key: str) -> Any:
            return 2 * super().__getitem__(key)

    p = {"w": np.zeros(2)}
    fastopt.sgd_step(p, Doubling(w=np.ones(2)), lr=1.0)
    assert p["w"].tolist() == [-2, -2]
    missing = defaultdict(lambda: np.ones(2))
    with pytest.raises(ValueError, match="grads has no entry 'w', which params has"):
        fastopt.sgd_step(p, missing)
    assert len(missing) == 0
    rng = np.random.default_rng(0)
    for _ in range(50):
        grads = OrderedDict((key, rng.standard_normal(9)) for key in "abcdef")
        grads.move_to_end("a")
        assert fastopt.global_norm(grads) == reference.global_norm(grads)


def test_many_columns_and_a_shared_gradient() -> None:
    """Neither is a reason to compare all with all by exact arithmetic."""
    whole = np.zeros((50, 1500))
    columns = [whole[:, i] for i in range(1500)]
    fastopt.sgd_step(columns, [np.ones(50)] * 1500, lr=1.0)
    assert (whole == -1).all()
    params = [np.zeros(10) for _ in range(20_000)]
    fastopt.sgd_step(params, [np.frombuffer(bytes(80))] * 20_000)


def test_trees_of_other_kinds() -> None:
    Layer = namedtuple("Layer", "w b")
    params = OrderedDict(one=Layer(np.zeros(2), np.zeros(1)), two=[])
    grads = OrderedDict(two=[], one=Layer(np.ones(2), np.ones(1)))
    state = fastopt.momentum_init(params)
    assert isinstance(state.buf["one"], Layer)
    fastopt.momentum_step(params, grads, state, lr=1.0)
    assert [a.tolist() for a in arrays_of(params)] == [[-1, -1], [-1]]


@pytest.mark.parametrize("keys", ["abcd", "abdc", "dcba", "bacd"])
@pytest.mark.parametrize("kind", ["function", "class"])
def test_dicts_in_another_order(kind: str, keys: str) -> None:
    """Keys decide; as long as they are in one order they are not looked up."""
    params = {key: np.zeros(2) for key in "abcd"}
    grads = {key: np.full(2, -1.0 - "abcd".index(key)) for key in keys}
    if kind == "class":
        fastopt.SGD(params, lr=1.0).step(grads)
    else:
        fastopt.sgd_step(params, grads, lr=1.0)
    assert [params[key][0] for key in "abcd"] == [1, 2, 3, 4]
