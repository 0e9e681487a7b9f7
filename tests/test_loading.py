"""Loading by names: other options, other models, averages that were not there."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits, random_like

import fastopt
from fastopt.schedules import Cosine, ReduceOnPlateau


def model(*keys: str, size: int = 3) -> dict[str, Any]:
    return {key: {"w": np.ones((size, 2)), "b": np.zeros(2)} for key in keys}


def trained(params: Any, steps: int = 3, **options: Any) -> Any:
    opt = fastopt.Adam(params, **options)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        opt.step(random_like(params, rng))
    return opt


def moments(opt: Any) -> dict[str, Any]:
    found = {}
    for group in opt.groups:
        arrays = group._arrays()
        for k, name in enumerate(group.names):
            found[name] = [arrays["m"][k], arrays["v"][k], group._steps()[k]]
    return found


SAVED = {"lr": 0.1, "weight_decay": 0.5}
OWN = {"lr": 0.001, "weight_decay": 0.0, "clip_norm": 1.0}


def test_saved_options_warn_and_hold(tmp_path: Path) -> None:
    old = trained(model("x"), **SAVED)
    fastopt.save(tmp_path / "run", params=old.params, optimizer=old)
    told = (
        r"^Adam\.load_state_dict: the saved options replace those of the optimizer: "
        r"clip_norm=1\.0 becomes None, lr=0\.001 becomes 0\.1, weight_decay=0\.0 becomes 0\.5; "
        r'options="keep" keeps them$'
    )
    for load in (
        lambda opt: opt.load_state_dict(old.state_dict()),
        lambda opt: fastopt.load(tmp_path / "run", params=opt.params, optimizer=opt),
        lambda opt: fastopt.load(tmp_path / "run", optimizer=opt, options="saved"),
    ):
        opt = fastopt.Adam(model("x"), **OWN)
        with pytest.warns(UserWarning, match=told) as caught:
            load(opt)
        assert caught[0].filename == __file__
        assert (opt.groups[0]["lr"], opt.options["clip_norm"]) == (0.1, None)


def test_a_warning_that_is_an_error_leaves_all_as_it_was() -> None:
    old, opt = trained(model("x"), **SAVED), trained(model("x"), 1, **OWN)
    before = repr(opt.state_dict())
    with pytest.raises(UserWarning, match="lr=0"):  # which these tests take for an error
        opt.load_state_dict(old.state_dict())
    assert repr(opt.state_dict()) == before


def test_nothing_to_warn_of() -> None:
    old = trained(model("x"), lr=np.float32(0.5), clip_norm=2)
    opt = fastopt.Adam(model("x"), lr=0.5, clip_norm=2.0)
    opt.load_state_dict(old.state_dict())


def test_own_options_are_kept(tmp_path: Path) -> None:
    old = trained(model("x"), **SAVED)
    fastopt.save(tmp_path / "run", params=old.params, optimizer=old)
    for load in (
        lambda opt: opt.load_state_dict(old.state_dict(), options="keep"),
        lambda opt: fastopt.load(
            tmp_path / "run", params=opt.params, optimizer=opt, options="keep"
        ),
    ):
        opt = fastopt.Adam(model("x"), **OWN)
        load(opt)
        assert {k: {**opt.options, **opt.groups[0]}[k] for k in OWN} == OWN
        assert opt.step_count == 3
        assert_same_bits(moments(opt)["x.w"][:2], moments(old)["x.w"][:2])


def test_own_schedules_are_kept() -> None:
    """Also where the state had a number; a plateau that is kept does not take over the old one."""
    old = trained(model("x"), lr=ReduceOnPlateau(0.5, patience=0))
    old.groups[0]["lr"].update(1.0)
    old.groups[0]["lr"].update(1.0)
    for lr in (0.25, Cosine(0.25, steps=9), ReduceOnPlateau(0.25)):
        opt = fastopt.Adam(model("x"), lr=lr)
        opt.load_state_dict(old.state_dict(), options="keep")
        assert opt.groups[0]["lr"] is lr
    assert opt.current()[0]["lr"] == 0.25
    with pytest.raises(ValueError, match=r"is a schedule, ours is a number; with options=\"keep\""):
        fastopt.Adam(model("x"), lr=0.1).load_state_dict(old.state_dict())


@pytest.mark.parametrize("options", ["saved", "keep"])
def test_frozen_arrays_come_with_the_state(options: Any) -> None:
    """Like counts: who goes on with other options does not train them unawares."""
    old = trained(model("x", "y"))
    old.freeze("x.*")
    opt = fastopt.Adam(model("x", "y"))
    opt.load_state_dict(old.state_dict(), options=options)
    assert opt.frozen == ("x.w", "x.b")
    opt.unfreeze("*")
    opt.freeze("y.b")
    with pytest.warns(UserWarning, match=r"frozen arrays=\['y.b'\] becomes \['x.w', 'x.b'\]"):
        opt.load_state_dict(old.state_dict(), options=options)
    assert opt.frozen == ("x.w", "x.b")
    state = old.state_dict()
    state["frozen"] = ["z"]
    with pytest.raises(ValueError, match="frozen has 'z', which the optimizer has not"):
        opt.load_state_dict(state)


def test_the_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    old = trained(model("x", "y", "z"), ema_decay=0.5, ema_debias=True)
    old.step({"x": None, "y": model("y")["y"], "z": {"w": None, "b": np.ones(2)}})
    old.accumulate(model("x", "y", "z"))
    fastopt.save(tmp_path / "run", params=old.params, optimizer=old)
    params = model("z", "x", "y")
    params = {key: dict(reversed(part.items())) for key, part in params.items()}
    opt = fastopt.Adam(params, ema_decay=0.5, ema_debias=True)
    fastopt.load(tmp_path / "run", params=params, optimizer=opt)
    assert {name: own[2] for name, own in moments(opt).items()} == {
        name: own[2] for name, own in moments(old).items()
    }
    for each in (old, opt):
        each.step()
        each.step(model("y", "x", "z"))
    for key in params:
        for name in ("w", "b"):
            assert_same_bits(params[key][name], old.params[key][name])
            assert_same_bits(opt.ema[key][name], old.ema[key][name])


def test_groups_are_told_apart() -> None:
    patterns = {"x.*": {"lr": 0.5}, "*.b": {"lr": 0.25}}
    old = trained(model("x"))
    opt = fastopt.Adam(fastopt.groups(model("x"), patterns))
    with pytest.raises(ValueError, match="as many groups as the optimizer, 2, it has 1"):
        opt.load_state_dict(old.state_dict())
    loaded = opt.load_state_dict(old.state_dict(), options="keep", strict=False)
    assert loaded == fastopt.Loaded((), ())
    assert repr(moments(opt)) == repr(moments(old))
    assert [group["lr"] for group in opt.groups] == [0.5, 0.25]


def test_what_fits_is_loaded(tmp_path: Path) -> None:
    old = trained(model("x", "gone") | model("other", size=4), ema_decay=0.5)
    fastopt.save(tmp_path / "run", params=old.params, optimizer=old, extra={"epoch": 3})
    params = model("new", "other", "x")
    opt = trained(params, 1, ema_decay=0.5)
    before = copy.deepcopy((params, moments(opt), opt.ema))
    loaded = fastopt.load(tmp_path / "run", params=params, optimizer=opt, strict=False)
    assert loaded.extra == {"epoch": 3}
    assert set(loaded.missing) == {
        "params.new.w",
        "params.new.b",
        "params.other.w",
        "optimizer.new.w",
        "optimizer.new.b",
        "optimizer.other.w",
        "optimizer.ema.new.w",
        "optimizer.ema.new.b",
        "optimizer.ema.other.w",
    }
    assert set(loaded.left_over) == {
        "params.gone.w",
        "params.gone.b",
        "optimizer.gone.w",
        "optimizer.gone.b",
        "optimizer.ema.gone.w",
        "optimizer.ema.gone.b",
        "params.other.w",
        "optimizer.other.w",
        "optimizer.ema.other.w",
    }
    for name in ("x.w", "x.b", "other.b"):
        key, part = name.split(".")
        assert_same_bits(params[key][part], old.params[key][part])
        assert_same_bits(opt.ema[key][part], old.ema[key][part])
        assert repr(moments(opt)[name]) == repr(moments(old)[name])
    for name in ("new.w", "new.b", "other.w"):
        key, part = name.split(".")
        assert_same_bits(params[key][part], before[0][key][part])
        assert_same_bits(opt.ema[key][part], before[2][key][part])
        assert repr(moments(opt)[name]) == repr(before[1][name])
    assert opt.groups[0].state.step == (1, 1, 1, 3, 3, 3)
    opt.step(random_like(params, np.random.default_rng(0)))


def test_what_does_not_fit_elsewhere_is_left_over() -> None:
    old = trained(model("x"), ema_decay=0.5, drop=fastopt.Dropout(0.5, 1))
    old.accumulate(model("x"))
    opt = fastopt.Adam(model("x", "y"))
    state = old.state_dict()
    state["groups"][0]["options"]["rho"] = 0.5
    loaded = opt.load_state_dict(state, strict=False)
    assert loaded is not None
    assert set(loaded.missing) == {"y.w", "y.b"}
    assert set(loaded.left_over) == {"ema", "drop", "accumulated", "groups[0]['options']['rho']"}
    with pytest.raises(ValueError, match="the state is one of 'adam', not of 'sgd'"):
        fastopt.SGD(model("x")).load_state_dict(state, strict=False)


def test_averages_switched_on_for_a_run_that_had_none(tmp_path: Path) -> None:
    old = trained(model("x"), lr=0.5)
    fastopt.save(tmp_path / "run", params=old.params, optimizer=old)
    params = model("x")
    opt = fastopt.Adam(params, lr=0.5, ema_decay=0.9, ema_debias=True)
    fastopt.load(tmp_path / "run", params=params, optimizer=opt)
    assert_same_bits(opt.ema, params)
    assert_same_bits(params, old.params)
    assert (opt.options["ema_decay"], opt.options["ema_debias"]) == (0.9, True)
    opt.step(model("x"))
    assert_same_bits(opt.ema, params)  # the start has no weight
    opt.load_state_dict(old.state_dict(), options="keep")
    assert_same_bits(opt.ema, params)
    with pytest.raises(ValueError, match="the optimizer has no ema, the state has"):
        old.load_state_dict(opt.state_dict())


def test_averages_begin_anew() -> None:
    w = np.zeros(2)
    opt = fastopt.SGD(w, lr=1.0, ema_decay=0.5, ema_debias=True)
    opt.step(-np.ones(2))
    w[:] = 7
    opt.reset_averages()
    assert opt.ema.tolist() == [7, 7]
    opt.step(-np.ones(2))
    assert opt.ema.tolist() == [8, 8], "as after the first step of all"
    with opt.averaged(), pytest.raises(RuntimeError, match=r"SGD\.reset_averages: the averages st"):
        opt.reset_averages()
    with pytest.raises(ValueError, match=r"^SGD\.reset_averages: there are no averages without"):
        fastopt.SGD(w).reset_averages()
    opt.ema.flags.writeable = False
    with pytest.raises(ValueError, match="the average of params is read-only"):
        opt.reset_averages()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": "mine"}, r"options must be one of \('saved', 'keep'\), it is 'mine'"),
        ({"strict": 2}, r"strict must be one of \(True, False\), it is 2"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments: Any, message: str) -> None:
    opt = trained(model("x"))
    with pytest.raises(ValueError, match=rf"^Adam\.load_state_dict: {message}"):
        opt.load_state_dict(opt.state_dict(), **arguments)


def test_options_are_for_our_optimizers(tmp_path: Path) -> None:
    class Theirs:
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            """Load nothing."""

    fastopt.save(tmp_path / "run", optimizer=Theirs())
    fastopt.load(tmp_path / "run", optimizer=Theirs())
    for more in ({"options": "keep"}, {"strict": False}):
        with pytest.raises(
            TypeError, match="options and strict are for optimizers of fastopt, not"
        ):
            fastopt.load(tmp_path / "run", optimizer=Theirs(), **more)


def test_parameters_that_cannot_take_what_fits(tmp_path: Path) -> None:
    fastopt.save(tmp_path / "run", params={"w": np.ones(2), "b": np.ones(2)})
    w = np.zeros(2)
    w.flags.writeable = False
    with pytest.raises(ValueError, match=r"load: params\['w'\] is read-only"):
        fastopt.load(tmp_path / "run", params={"w": w}, strict=False)
    with pytest.raises(TypeError, match=r"load: params\['w'\] must be a NumPy array, not int"):
        fastopt.load(tmp_path / "run", params={"w": 3}, strict=False)
    base = np.zeros(3)
    with pytest.raises(ValueError, match="overlap in memory"):
        fastopt.load(tmp_path / "run", params={"w": base[:2], "b": base[1:]}, strict=False)
    assert not base.any()


def test_plain_averages_go_on_as_debiased_ones() -> None:
    """They have no start that would be left out: they are whole."""
    old = trained(model("x"), ema_decay=0.5)
    opt = fastopt.Adam(model("x"), ema_decay=0.5, ema_debias=True)
    opt.load_state_dict(old.state_dict(), options="keep")
    for name, array in opt.params["x"].items():
        array[...] = old.params["x"][name]
    for each in (old, opt):
        each.step(model("x"))
    assert_same_bits(opt.ema, old.ema)


def test_groups_are_found_by_their_names() -> None:
    """Those that came later have other numbers than in an optimizer that is made of them all."""
    patterns = {"*.b": {"lr": 0.5}, "y.*": {"lr": 0.25}}
    params = {"x": {"b": np.zeros(1)}, "y": {"w": np.zeros(1)}}
    old = fastopt.Adam(fastopt.groups(params, patterns))
    params["x"]["w"] = np.zeros(1)
    old.step({"x": {"w": np.ones(1), "b": None}, "y": {"w": None}}, params=params)
    opt = fastopt.Adam(fastopt.groups(copy.deepcopy(params), patterns))
    assert [group.names for group in opt.groups] != [group.names for group in old.groups]
    opt.load_state_dict(old.state_dict())
    assert repr(moments(opt)["x.w"]) == repr(moments(old)["x.w"])


def test_a_state_whose_arrays_are_what_ours_are_views_of() -> None:
    a, b = np.ones(2), np.full(2, 2.0)
    state = fastopt.MomentumState(0, {"a": a[:], "b": b[:]})
    opt = fastopt.Momentum({"a": np.zeros(2), "b": np.zeros(2)}, state=state)
    saved = opt.state_dict()
    saved["groups"][0]["state"]["buf"] = {"a": b, "b": a}
    opt.load_state_dict(saved)
    assert [buf.tolist() for buf in opt.groups[0].state.buf] == [[2, 2], [1, 1]]


@pytest.mark.parametrize("place", ["options", "ema", "groups/0/options", "groups/0/state"])
@pytest.mark.parametrize("nonsense", [None, [1], "x", 3], ids=str)
def test_nonsense_is_refused_by_name(place: str, nonsense: Any) -> None:
    opt = trained(model("x"), ema_decay=0.5)
    state: Any = copy.deepcopy(opt.state_dict())
    part = state
    *way, last = [int(key) if key.isdigit() else key for key in place.split("/")]
    for key in way:
        part = part[key]
    part[last] = nonsense
    before = repr(opt.state_dict())
    for strict in (True, False):
        if place == "ema" and nonsense is None:
            continue
        try:
            opt.load_state_dict(state, strict=strict)
        except (TypeError, ValueError) as error:
            assert str(error).startswith("Adam.load_state_dict: ")  # noqa: PT017
            assert repr(opt.state_dict()) == before
        else:
            assert not strict


def test_counts_are_plain_ints() -> None:
    class Sly(int):
        def __int__(self) -> int:
            return -5

    opt = trained(model("x"))
    state = opt.state_dict()
    for place in (state, state["groups"][0]):
        key = "step" if "step" in place else "step_count"
        kept, place[key] = place[key], Sly(3)
        with pytest.raises(TypeError, match=f"{key}.* must be an int"):
            opt.load_state_dict(state)
        place[key] = kept


def test_parameters_that_the_optimizer_does_not_have(tmp_path: Path) -> None:
    old = trained(model("x"))
    fastopt.save(tmp_path / "run", params=old.params, optimizer=old)
    opt, params = fastopt.Adam(model("x")), model("x")
    with pytest.warns(UserWarning, match=r"^load: the optimizer has another array") as told:
        fastopt.load(tmp_path / "run", params=params, optimizer=opt)
    assert told[0].filename == __file__
    opt.params = params
    fastopt.load(tmp_path / "run", params=params, optimizer=opt)
