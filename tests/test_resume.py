"""Train, save, be killed, load in a new process, go on: the same bits as never having stopped."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import saved_by_0_1_0
from cases import assert_same_bits, random_like
from checkpoints import FORMATS

import fastopt
from fastopt.schedules import Cosine, ReduceOnPlateau, Warmup

DATA = Path(__file__).with_name("data")

CLASSES: dict[str, dict[str, Any]] = {
    "SGD": {},
    "Momentum": {"nesterov": True, "lr_inside": True},
    "Adam": {"epsilon_hat": True},
    "AdamW": {"bias_correction": False},
    "RMSprop": {"centered": True, "momentum": 0.8},
    "Adagrad": {"lr_decay": 0.1, "initial_accumulator_value": 0.1},
    "Adadelta": {},
    "Adamax": {"eps_outside_max": True},
    "Lion": {"beta1": 0.8},
    "Rprop": {"eta_plus": 1.1},
    "Signum": {"momentum": 0.8},
    "Sophia": {"beta1": 0.8},
    "RowWiseAdagrad": {"initial_accumulator_value": 0.5},
    "Adan": {"beta3": 0.9},
    "FTRL": {"lambda1": 0.01, "initial_accumulator_value": 0.5},
    "Yogi": {"initial_accumulator_value": 1e-3},
    "AMSGrad": {"max_of_corrected": True},
    "RAdam": {"beta2": 0.9},
    "NAdam": {"momentum_decay": 0.1},
    "CautiousAdam": {"beta2": 0.9},
    "CautiousLion": {"beta1": 0.8},
    "CautiousNAdam": {"momentum_decay": 0.1},
    "AdEMAMix": {"alpha_warmup": 50.0, "beta3_warmup": 50.0},
    "ADOPT": {"beta2": 0.99},
    "AdaBelief": {"eps": 1e-8},
    "LAMB": {"trust_decay": 0.1},
    "Adafactor": {"beta1": 0.5},
    "LARS": {"trust_coeff": 0.1, "trust_decay": 0.1},
    "ASGD": {"t0": 5.0, "lambd": 0.1},
    "ScheduleFreeSGD": {"momentum": 0.8, "warmup_steps": 5.0},
    "ScheduleFreeAdamW": {"y_decay": 0.1, "r": 0.5},
    "Prodigy": {"d0": 1e-3, "d_decay": 0.1},
    "Muon": {"other": {"beta1": 0.8}},
}


class Run:
    """A training with everything that remembers something; gradients depend on the step alone."""

    def __init__(self, name: str) -> None:
        rng = np.random.default_rng(1)
        self.params = {
            "w": rng.standard_normal((40, 30)).astype(np.float32),
            "head": [rng.standard_normal(25), np.zeros((), np.float32)],
        }
        self.plateau = ReduceOnPlateau(0.02, patience=1)
        self.scaler = fastopt.LossScaler(scale=64.0, interval=3)
        self.layer = fastopt.Dropout(0.4, seed=5)
        grouped = fastopt.groups(self.params, {"head.*": {"lr": self.plateau * 0.5, "l2": 0.01}})
        self.opt = getattr(fastopt, name)(
            grouped,
            lr=Warmup(Cosine(0.05, steps=30), steps=4),
            ema_decay=0.9,
            ema_debias=True,
            clip_norm=3.0,
            skip_nonfinite=True,
            drop=fastopt.Dropout(0.25, seed=3),
            **CLASSES[name],
        )
        self.turn = 0

    def go(self, turns: int) -> None:
        for _ in range(turns):
            rng = np.random.default_rng((7, self.turn))
            grads = random_like(self.params, rng)
            grads["w"] = self.layer(grads["w"])
            for g in (grads["w"], *grads["head"]):
                np.multiply(g, self.scaler.scale, out=g)
            if self.turn % 7 == 5:
                grads["head"][0][2] = np.inf
            self.opt.accumulate(grads)
            if self.turn % 3 == 2:
                result = self.opt.step(grad_scale=self.scaler.grad_scale)
                self.scaler.update(result)
            self.plateau.update(abs(float(self.params["w"].sum())))
            if self.turn == 10:
                self.opt.groups[1]["l2"] = 0.02
            self.turn += 1

    def save(self, path: Path) -> None:
        extra = {
            "turn": self.turn,
            "scaler": self.scaler.state_dict(),
            "layer": self.layer.state_dict(),
        }
        fastopt.save(path, params=self.params, optimizer=self.opt, extra=extra)

    def load(self, path: Path) -> None:
        with warnings.catch_warnings():  # of what was set in training, which a new run has not
            warnings.filterwarnings("ignore", ".*the saved options replace")
            extra = fastopt.load(path, params=self.params, optimizer=self.opt)
        self.turn = extra["turn"]
        self.scaler.load_state_dict(extra["scaler"])
        self.layer.load_state_dict(extra["layer"])

    def all(self) -> Any:
        state = self.opt.state_dict()
        arrays = [self.params, self.opt.ema, *(group["state"] for group in state["groups"])]
        numbers = [
            state["step_count"],
            [g["ema_weight"] for g in state["groups"]],
            state["drop"],
            self.scaler,
        ]
        return arrays, [*numbers, self.layer, self.plateau, state["options"], self.turn]


def check_same(a: Run, b: Run) -> None:
    (arrays, numbers), (others, other_numbers) = a.all(), b.all()
    assert numbers == other_numbers
    for one, other in zip(arrays, others, strict=True):
        assert_same_bits(one, other)


@pytest.mark.long
@pytest.mark.parametrize("name", CLASSES)
def test_resume_in_a_new_process(name: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"run.{ending}" for ending in FORMATS]
    whole = Run(name)
    whole.go(26)
    code = """
        import os, signal, sys
        sys.path.insert(0, sys.argv[1])
        from test_resume import Run
        run = Run(sys.argv[2])
        for turn in range(13):  # in the middle of an accumulation
            run.go(1)
            for path in sys.argv[3:]:
                run.save(path)
        run.go(2)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    """
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(code),
        str(Path(__file__).parent),
        name,
        *paths,
    ]
    killed = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ)
    assert killed.returncode == -getattr(signal, "SIGKILL", signal.SIGTERM), killed.stderr
    for path in paths:
        resumed = Run(name)
        resumed.load(path)
        assert resumed.turn == 13
        assert resumed.opt.state_dict()["accumulated"]["count"] == 1
        resumed.go(13)
        check_same(resumed, whole)
    assert 0 < whole.opt.step_count < 26 // 3, "some steps were skipped"


# What is refused


def trained(name: str = "Adam", **options: Any) -> Any:
    params = {"w": np.ones((3, 2)), "b": np.ones(2, np.float32)}
    opt = getattr(fastopt, name)(params, lr=0.1, **options)
    opt.step(copy.deepcopy(params))
    return opt


def spoil(path: str, value: Any = None) -> Any:
    """Return a change of a state: of the entry at a path such as ``groups/0/step``."""

    def change(state: dict[str, Any]) -> None:
        *way, last = [int(part) if part.isdecimal() else part for part in path.split("/")]
        place: Any = state
        for part in way:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


BROKEN = [
    ("step_count", None, "state has no 'step_count'"),
    ("step_count", -1, "0 <= step_count < 2..53 must hold, it is -1"),
    ("step_count", 1.0, "step_count must be an int, not 1.0"),
    ("more", 1, "state has 'more', which the optimizer has not"),
    ("rule", "sgd", "the state is one of 'sgd', not of 'adam'"),
    ("groups", [], "the state must have a list of as many groups as the optimizer, 1, it has 0"),
    ("groups/0/names", ["w", "c"], r"groups\[0\] has the arrays w, c, ours w, b"),
    ("groups/0/names", 3, r"groups\[0\]\['names'\] must be a list of different str"),
    ("rule", np.ones(2), "the state is one of"),
    ("drop", 3, "Dropout.load_state_dict: state must be a dict, not int"),
    ("options/clip_norm", len, r"options\['clip_norm'\] must be a number, not <built-in"),
    ("groups/0/step", "x", r"groups\[0\]\['step'\] must be an int, not 'x'"),
    ("groups/0/state/m", None, r"groups\[0\]\['state'\] has no 'm'"),
    ("groups/0/state/m/w", None, r"groups\[0\]\['state'\]\['m'\] has no 'w'"),
    ("groups/0/state/v/w", np.ones(6), r"\['v'\]\['w'\] has shape \(6,\), ours \(3, 2\)"),
    ("groups/0/state/v/w", np.ones((3, 2), "f4"), r"\['w'\] has dtype float32, ours float64"),
    ("groups/0/state/v/w", [1.0], r"\['v'\]\['w'\] must be an array, not \[1.0\]"),
    ("groups/0/state/v/x", np.ones(2), r"\['v'\] has 'x', which the optimizer has not"),
    ("groups/0/options/lr", None, r"groups\[0\]\['options'\] has no 'lr'"),
    ("groups/0/options/lr", {"schedule": "", "states": []}, r"\['lr'\] is a schedule, ours is a n"),
    ("groups/0/options/lr", -1.0, "lr must be finite and >= 0, it is -1.0"),
    ("groups/0/options/frozen", 1, "frozen must be True or False, not 1"),
    ("options/clip_norm", 0.0, "clip_norm must be finite and > 0"),
    ("options/lr", 0.0, "options has 'lr', which the optimizer has not"),
    ("ema/w", None, "ema has no 'w'"),
    ("groups/0/ema_weight", 2.0, "0 <= groups.0...ema_weight.. <= 1 must hold, it is 2.0"),
    ("accumulated/count", -3, r"0 <= accumulated\['count'\] < 2\*\*53 must hold, it is -3"),
    ("accumulated/sum", [1], r"accumulated\['sum'\] must be a dict, not list"),
    ("drop/seed", -1, "seed"),
    ("drop", {"p": 0.5}, "state has no 'seed'"),
]


@pytest.mark.parametrize(("path", "value", "message"), BROKEN)
def test_a_broken_state_is_refused_whole(path: str, value: Any, message: str) -> None:
    def made() -> Any:
        opt = trained(ema_decay=0.5, drop=fastopt.Dropout(0.5, seed=1))
        opt.accumulate(copy.deepcopy(opt.params))
        return opt

    state = copy.deepcopy(made().state_dict())
    opt = made()
    opt.step()
    before = copy.deepcopy(opt.state_dict())
    spoil(path, value)(state)
    if path == "accumulated/sum":
        state["accumulated"]["count"] = 2
    with pytest.raises((ValueError, TypeError), match=message):
        opt.load_state_dict(state)
    after = opt.state_dict()
    assert repr(after) == repr(before)


def test_a_state_whose_arrays_are_ours_in_another_place() -> None:
    opt = trained()
    state = opt.state_dict()
    arrays = state["groups"][0]["state"]
    m, v = copy.deepcopy(arrays["m"]), copy.deepcopy(arrays["v"])
    arrays["m"], arrays["v"] = arrays["v"], arrays["m"]
    opt.load_state_dict(state)
    assert_same_bits(opt.groups[0].state.m, tuple(v.values()))
    assert_same_bits(opt.groups[0].state.v, tuple(m.values()))


def test_a_state_for_arrays_that_are_read_only() -> None:
    opt, other = trained(), trained()
    opt.step(copy.deepcopy(opt.params))
    other.groups[0].state.v[1].setflags(write=False)
    before = repr(other.state_dict())
    with pytest.raises(ValueError, match=r"our groups\[0\]\['state'\]\['v'\]\['b'\] is read-only"):
        other.load_state_dict(opt.state_dict())
    assert repr(other.state_dict()) == before


def test_a_state_of_another_optimizer() -> None:
    adam = trained()
    for other, message in [
        (trained("SGD"), "^SGD.load_state_dict: the state is one of 'adam', not of 'sgd'"),
        (trained(drop=fastopt.Dropout(0.5, 1)), "either the state or the optimizer has no drop"),
        (
            fastopt.Adam({"w": np.ones((3, 2))}),
            r"groups\[0\] has the arrays w, b, ours w",
        ),
        (
            fastopt.Adam({"w": np.ones((3, 2)), "b": np.ones(2, "f4")}, lr=Cosine(0.1, steps=3)),
            r"\['lr'\] is a number, ours is a schedule",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(adam.state_dict())
    state = trained("RMSprop").state_dict()
    with pytest.raises(
        ValueError, match=r"the state has no groups\[0\]\['state'\]\['avg'\], the opt"
    ):
        trained("RMSprop", centered=True).load_state_dict(state)
    with pytest.raises(ValueError, match="the optimizer has no ema, the state has"):
        adam.load_state_dict(trained(ema_decay=0.5).state_dict())
    for broken in (None, [], {}, {"rule": "adam"}):
        with pytest.raises((ValueError, TypeError), match=r"^Adam\.load_state_dict: state "):
            adam.load_state_dict(broken)


def test_adam_and_adamw_are_one_rule() -> None:
    opt = trained("AdamW")
    with pytest.warns(UserWarning, match=r"^AdamW.*: weight_decay=0\.01 becomes 0\.0;"):
        opt.load_state_dict(trained().state_dict())
    assert opt.groups[0]["weight_decay"] == 0.0


def test_options_come_with_the_state() -> None:
    opt = trained()
    opt.groups[0].update(lr=np.float32(0.5), l2=0.25)
    opt.options["clip_norm"] = 2.0
    other = trained()
    told = r"clip_norm=None becomes 2\.0, lr=0\.1 becomes 0\.5, l2=0\.0 becomes 0\.25; options="
    with pytest.warns(UserWarning, match=told):
        other.load_state_dict(opt.state_dict())
    assert dict(other.groups[0]) == dict(opt.groups[0])
    assert other.options["clip_norm"] == 2.0
    for each in (opt, other):
        each.step(copy.deepcopy(each.params))
    assert_same_bits(other.params, opt.params)


@pytest.mark.parametrize(
    ("name", "option", "default"),
    [("Momentum", "lr_inside", False), ("Adam", "bias_correction", True)],
)
def test_options_that_a_saved_state_is_too_old_to_have(
    name: str, option: str, default: bool
) -> None:
    opt = trained(name, **{option: default})
    state = copy.deepcopy(opt.state_dict())
    del state["groups"][0]["options"][option]
    other = trained(name, **{option: not default})
    with pytest.warns(UserWarning, match=f"{option}={not default} becomes {default};"):
        other.load_state_dict(state)
    assert other.groups[0][option] is default
    assert repr(other.state_dict()) == repr(opt.state_dict())


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    opt = trained()
    fastopt.save(path, params=opt.params, optimizer=opt)
    sgd = trained("SGD")
    before = copy.deepcopy([sgd.params, sgd.state_dict()])
    with pytest.raises(ValueError, match="the state is one of 'adam', not of 'sgd'"):
        fastopt.load(path, params=sgd.params, optimizer=sgd)
    assert repr([sgd.params, sgd.state_dict()]) == repr(before)


@pytest.mark.parametrize("ending", FORMATS)
def test_files_of_version_0_1_0_load_and_go_on(ending: str) -> None:
    """To the very bits to which that version itself went on, but for the average.

    Norms are those of what dropout keeps since then, so clipping is switched off, as it was there.
    """
    params, opt, _ = saved_by_0_1_0.new_run()
    extra = fastopt.load(DATA / f"saved_by_0_1_0.{ending}", params=params, optimizer=opt)
    assert extra == {"epoch": 3}
    assert opt.step_count == 5
    opt.options["clip_norm"] = None
    saved_by_0_1_0.go_on(opt)
    with np.load(DATA / "gone_on_by_0_1_0.npz") as wanted:
        found = {
            "w": params["layer"]["w"],
            "bias": params["layer"]["bias"],
            "head": params["head"],
            "ema": opt.ema["layer"]["w"],
            "m": opt.groups[0].state.m[0],
            "v": opt.groups[1].state.v,
        }
        assert set(wanted) == set(found)
        np.testing.assert_allclose(found.pop("ema"), wanted["ema"], rtol=1e-6)
        for name, array in found.items():
            assert array.tobytes() == wanted[name].tobytes(), name
