"""Gradients that are None in changing places: 30 steps, here and there by turns, equal torch's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.interop import from_torch_state, to_torch_state

torch = pytest.importorskip("torch")
# States bring the options of torch's optimizers; that those of ours give way is meant here.
pytestmark = pytest.mark.filterwarnings("ignore:.*the saved options replace:UserWarning")

Options = dict[str, Any]
Arrays = dict[str, Any]
STEPS, LEG, MAX_NORM = 30, 10, 2.0
SHAPES: dict[str, tuple[int, ...]] = {
    "a.weight": (5, 3),
    "a.bias": (3,),
    "b.weight": (3, 2),
    "b.scale": (),
    "a.late": (4,),
    "b.later": (2, 2),
    "b.never": (2,),
}
FIRST = {"a.late": 13, "b.later": 21, "b.never": STEPS}
"""The step in which an array has its first gradient, where that is not by chance."""

FALL: list[Callable[[int], float]] = [lambda step: 0.9**step, lambda step: 1 / (1 + step)]


@dataclass(frozen=True)
class Setup:
    """An optimizer with two groups, as we call it and as torch does."""

    ours: str
    theirs: str
    groups: tuple[Options, ...]
    of_theirs: tuple[Options, ...]
    made: Options = field(default_factory=dict)
    lrs: tuple[float, ...] = (0.1, 0.05)
    patterns: tuple[str, ...] = ("a.*", "b.*")

    def names(self, pattern: str) -> list[str]:
        return [name for name in SHAPES if fnmatchcase(name, pattern)]

    def lr(self, group: int) -> Any:
        if group == 0:
            return fastopt.schedules.Exponential(self.lrs[0], gamma=0.9)
        return lambda step: self.lrs[1] / (1 + step)

    def with_one_group(self) -> Setup:
        return replace(self, groups=self.groups[:1], of_theirs=self.of_theirs[:1], patterns=("*",))

    def __str__(self) -> str:
        return f"{self.ours} {self.groups} {self.made}"


L2, DECAY = {"l2": 0.3}, {"weight_decay": 0.3}
MOMENTUM, NESTEROV = {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}
DAMPENED = {"momentum": 0.8, "dampening": 0.4}
BETAS = {"beta1": 0.5, "beta2": 0.9}
AMSGRAD = {"amsgrad": True}
SETUPS = [
    Setup("SGD", "SGD", (L2, {"maximize": True}), (DECAY, {"maximize": True})),
    Setup("Momentum", "SGD", (MOMENTUM | L2, NESTEROV), (MOMENTUM | DECAY, NESTEROV)),
    Setup("Momentum", "SGD", (DAMPENED, MOMENTUM | L2), (DAMPENED, MOMENTUM | DECAY)),
    Setup("Adam", "Adam", (BETAS, L2), ({"betas": (0.5, 0.9)}, DECAY)),
    Setup("AdamW", "AdamW", (DECAY, BETAS), (DECAY, {"betas": (0.5, 0.9)})),
    Setup("RMSprop", "RMSprop", ({"rho": 0.9}, L2), ({"alpha": 0.9}, DECAY)),
    Setup("RMSprop", "RMSprop", ({}, L2), ({}, DECAY), {"centered": True}),
    Setup("Adadelta", "Adadelta", ({"rho": 0.5}, L2), ({"rho": 0.5}, DECAY)),
    Setup("ASGD", "ASGD", ({}, {"t0": 2.0}), ({}, {"t0": 2.0})),
    Setup("Rprop", "Rprop", ({}, {"eta_plus": 1.5}), ({}, {"etas": (0.5, 1.5)})),
    Setup("Adamax", "Adamax", ({"beta1": 0.5}, L2), ({"betas": (0.5, 0.999)}, DECAY)),
    Setup("AMSGrad", "Adam", (BETAS, L2), ({"betas": (0.5, 0.9)} | AMSGRAD, DECAY | AMSGRAD)),
    Setup("NAdam", "NAdam", ({"beta2": 0.8}, L2), ({"betas": (0.9, 0.8)}, DECAY)),
    Setup("RAdam", "RAdam", ({"beta2": 0.8}, L2), ({"betas": (0.9, 0.8)}, DECAY)),
    Setup("RMSprop", "RMSprop", (L2, {}), (DECAY, {}), {"momentum": 0.8}),
    Setup(
        "RMSprop",
        "RMSprop",
        (L2, {"momentum": 0.5}),
        (DECAY, {"momentum": 0.5}),
        {"centered": True, "momentum": 0.8},
    ),
]


def start() -> Arrays:
    rng = np.random.default_rng(1)
    return {name: np.asarray(rng.normal(size=shape)) for name, shape in SHAPES.items()}


def grads_of(step: int) -> Arrays:
    """Return gradients of which some are None, in step 5 all."""
    rng = np.random.default_rng(100 + step)
    scale = rng.uniform(0.1, 2.0)  # so that some steps are clipped and others are not
    grads = {name: np.asarray(scale * rng.normal(size=shape)) for name, shape in SHAPES.items()}
    there = rng.random(len(SHAPES)) < 0.6
    for name, is_there in zip(SHAPES, there, strict=True):
        first = FIRST.get(name, 0)
        if step < first or step == 5 or not (is_there or step == first):
            grads[name] = None
    return grads


def updates(name: str, steps: int = STEPS) -> int:
    return sum(grads_of(step)[name] is not None for step in range(steps))


class Theirs:
    """torch's optimizer with its clipping and its scheduler."""

    def __init__(self, setup: Setup, params: Arrays, state: Any = None, step: int = 0) -> None:
        self.setup = setup
        self.tensors = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in params.items()}
        groups = [
            {"params": [self.tensors[name] for name in setup.names(pattern)], "lr": lr, **own}
            for pattern, lr, own in zip(setup.patterns, setup.lrs, setup.of_theirs, strict=False)
        ]
        self.optimizer = getattr(torch.optim, setup.theirs)(groups, **setup.made)
        fall = FALL[: len(groups)]
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, fall)
        if state is not None:
            self.optimizer.load_state_dict(state)
            self.scheduler.last_epoch = step

    def step(self, grads: Arrays) -> None:
        for name, grad in grads.items():
            self.tensors[name].grad = None if grad is None else torch.tensor(grad)
        torch.nn.utils.clip_grad_norm_(self.tensors.values(), MAX_NORM)
        self.optimizer.step()
        self.scheduler.step()

    def params(self) -> Arrays:
        return {name: p.detach().numpy().copy() for name, p in self.tensors.items()}

    def torch_state(self) -> Any:
        return copy.deepcopy(self.optimizer.state_dict())

    def saved_and_loaded(self, path: Path) -> Theirs:
        again = Theirs(self.setup, self.params(), self.torch_state())
        again.scheduler.load_state_dict(self.scheduler.state_dict())
        return again


class Ours:
    """Our optimizer object with its clipping and its schedules."""

    def __init__(self, setup: Setup, params: Arrays, state: Any = None, step: int = 0) -> None:
        self.setup, self.arrays = setup, params
        of_groups: list[Options] = [{} for _ in setup.groups]
        if state is None:  # or else it brings them
            of_groups = [dict(own) for own in setup.groups]
        patterns = dict(zip(setup.patterns, of_groups, strict=True))
        self.opt = getattr(fastopt, setup.ours)(fastopt.groups(params, patterns), **setup.made)
        if state is not None:
            in_torchs_order = [name for pattern in setup.patterns for name in setup.names(pattern)]
            named = {name: params[name] for name in in_torchs_order}
            self.opt.load_state_dict(from_torch_state(state, named, step_count=step))
        for number, group in enumerate(self.opt.groups):
            group["lr"] = setup.lr(number)
        self.opt.options["clip_norm"] = MAX_NORM

    def step(self, grads: Arrays) -> None:
        self.opt.step(grads)

    def params(self) -> Arrays:
        return copy.deepcopy(self.arrays)

    def torch_state(self) -> Any:
        opt = copy.deepcopy(self.opt)
        for group in opt.groups:
            group["lr"] = group["lr"](opt.step_count)
        opt.options["clip_norm"] = None
        return to_torch_state(opt.state_dict())

    def saved_and_loaded(self, path: Path) -> Ours:
        fastopt.save(path, params=self.arrays, optimizer=self.opt)
        again = Ours(self.setup, start())
        fastopt.load(path, params=again.arrays, optimizer=again.opt)
        return again


class Functions:
    """Our functional step; its state goes through an object to torch."""

    def __init__(self, setup: Setup, params: Arrays, state: Any = None, step: int = 0) -> None:
        self.setup, self.arrays, self.count = setup, params, step
        own = {**setup.made, **setup.groups[0]}
        kind = setup.ours.lower().removesuffix("w")
        self.take_step: Any = getattr(fastopt, f"{kind}_step")
        self.options = {key: value for key, value in own.items() if key != "centered"}
        self.state: Any = None
        if kind == "sgd":
            return
        structure: Options = {}
        if kind == "rmsprop":
            structure = {name: bool(value) for name, value in setup.made.items()}
        self.state = getattr(fastopt, f"{kind}_init")(params, **structure)
        if state is not None:
            (group,) = from_torch_state(state, params)["groups"]
            self.state = type(self.state)(step=group["step"], **group["state"])

    def step(self, grads: Arrays) -> None:
        lr = self.setup.lr(0)(self.count)
        clip = {"clip_norm": MAX_NORM}
        self.take_step(self.arrays, grads, self.state, lr=lr, **self.options, **clip)
        self.count += 1

    def params(self) -> Arrays:
        return copy.deepcopy(self.arrays)

    def torch_state(self) -> Any:
        made = {**self.setup.made, **self.setup.groups[0], "lr": self.setup.lr(0)(self.count)}
        state = copy.deepcopy(self.state)
        opt = getattr(fastopt, self.setup.ours)(self.params(), state=state, **made)
        return to_torch_state(opt.state_dict())

    def saved_and_loaded(self, path: Path) -> Functions:
        state = None if self.state is None else asdict(self.state)
        fastopt.save(path, params=self.arrays, extra=state)
        again = Functions(self.setup, start(), step=self.count)
        state = fastopt.load(path, params=again.arrays)
        again.state = None if state is None else type(self.state)(**state)
        return again


def check_route(setup: Setup, legs: tuple[type, ...], path: Path) -> Any:
    """Make 30 steps in legs of 10, and the same in torch alone."""
    whole, run = Theirs(setup, start()), legs[0](setup, start())
    for step in range(STEPS):
        leg = legs[step // LEG]
        if step in (LEG, 2 * LEG):
            check_states(run.torch_state()["state"], whole.torch_state()["state"])
            if type(run) is leg:
                run = run.saved_and_loaded(path / "run")
            else:
                run = leg(setup, run.params(), run.torch_state(), step)
        for each in (whole, run):
            each.step(grads_of(step))
        check_close(run.params(), whole.params())
    check_states(run.torch_state()["state"], whole.torch_state()["state"])
    return run


def check_states(ours: Any, theirs: Any) -> None:
    """Who has a state, of what parts, and how many updates it counts."""
    assert ours.keys() == theirs.keys()
    for key, state in theirs.items():
        assert ours[key].keys() == state.keys()
        assert ours[key].get("step") == state.get("step")
    for key, state in theirs.items():
        check_close(
            {name: array.numpy() for name, array in ours[key].items()},
            {name: array.numpy() for name, array in state.items()},
        )


def check_close(ours: Arrays, theirs: Arrays) -> None:
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-12, atol=1e-12, err_msg=name)


def name_of(legs: Any) -> str:
    if isinstance(legs, Setup):
        return str(legs)
    return "-".join(leg.__name__.lower() for leg in legs)


@pytest.mark.usefixtures("exact_numbers")
@pytest.mark.parametrize("legs", [*product((Ours, Theirs), repeat=3)], ids=name_of)
@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_objects(setup: Setup, legs: tuple[type, ...], tmp_path: Path) -> None:
    run = check_route(setup, legs, tmp_path)
    if legs[-1] is Ours:
        assert run.opt.step_count == STEPS
    counts_all = setup.theirs != "SGD" or (setup.ours == "Momentum" and Theirs not in legs)
    if legs[-1] is Ours and counts_all:
        for group in run.opt.groups:
            steps = dict(zip(group.names, group.state.step, strict=True))
            assert steps == {name: updates(name) for name in group.names}


@pytest.mark.usefixtures("exact_numbers")
@pytest.mark.parametrize("legs", [*product((Functions, Theirs), repeat=3)], ids=name_of)
@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_functions(setup: Setup, legs: tuple[type, ...], tmp_path: Path) -> None:
    run = check_route(setup.with_one_group(), legs, tmp_path)
    counts_all = setup.theirs != "SGD" or (setup.ours == "Momentum" and Theirs not in legs)
    if legs[-1] is Functions and counts_all:
        assert run.state.step == {name: updates(name) for name in SHAPES}


def test_gradients_are_missing_in_all_ways() -> None:
    """What the tests above are about does happen in them."""
    assert all(grad is None for grad in grads_of(5).values())
    assert updates("b.never") == 0
    assert (updates("a.late", 13), updates("a.late", 14)) == (0, 1)
    assert (updates("b.later", 21), updates("b.later", 22)) == (0, 1)
    assert len({updates(name) for name in SHAPES}) > 4
    norms = [
        fastopt.global_norm([g for g in grads_of(k).values() if g is not None])
        for k in range(STEPS)
    ]
    clipped = sum(norm > MAX_NORM for norm in norms)
    assert 5 < clipped < STEPS - 5


def adam_of_torch() -> Any:
    run = Theirs(SETUPS[3].with_one_group(), start())
    for step in range(8):
        run.step(grads_of(step))
    return run.torch_state()


def test_counts_of_adam() -> None:
    state = from_torch_state(adam_of_torch(), start())
    counts = {name: updates(name, 8) for name in SHAPES}
    assert state["groups"][0]["step"] == counts
    assert state["step_count"] == max(counts.values()) < 8
    assert from_torch_state(adam_of_torch(), start(), step_count=8)["step_count"] == 8


@pytest.mark.parametrize(("step_count", "step"), [(None, 1), (0, 1), (7, 7)])
def test_counts_of_momentum(step_count: int | None, step: int) -> None:
    """torch has none: what has a buffer must be past 0, what has none must be at 0."""
    run = Theirs(SETUPS[1].with_one_group(), start())
    run.step({**start(), "a.bias": None})
    state = from_torch_state(run.torch_state(), start(), step_count=step_count)
    assert state["groups"][0]["step"] == {**dict.fromkeys(SHAPES, step), "a.bias": 0}
    assert state["step_count"] == (1 if step_count is None else step_count)


def test_moments_at_step_0_are_not_lost() -> None:
    """torch makes zeros by itself, but would not know of anything else."""
    opt = fastopt.Adam(start())
    opt.groups[0].state.m[0][...] = 1.0
    state = to_torch_state(opt.state_dict())["state"]
    assert list(state) == [0]
    assert state[0]["step"] == 0
    assert torch.equal(state[0]["exp_avg"], torch.ones(5, 3, dtype=torch.float64))


@pytest.mark.parametrize("ours", ["Adam", "Momentum"])
def test_states_of_0_1_0_go_to_torch(ours: str) -> None:
    opt = getattr(fastopt, ours)(start())
    opt.step(start())
    state = opt.state_dict()
    now = to_torch_state(state)
    del state["frozen"], state["accumulated"]["weight"], state["accumulated"]["frozen"]
    for option in ("lr_inside", "bias_correction"):
        state["groups"][0]["options"].pop(option, None)
    assert str(to_torch_state(state)) == str(now)


def test_averages_of_ours_begin_at_the_parameters_and_options_can_stay() -> None:
    params = start()
    opt = fastopt.Adam(params, lr=lambda step: 0.5, clip_norm=2.0, ema_decay=0.9)
    opt.freeze("b.*")
    params["a.bias"] += 1.0
    opt.load_state_dict(from_torch_state(adam_of_torch(), params), options="keep")
    assert opt.ema["a.bias"].tolist() == params["a.bias"].tolist()
    assert opt.options["clip_norm"] == 2.0
    assert opt.frozen == ("b.weight", "b.scale", "b.later", "b.never")
    assert opt.groups[0].state.step[0] == updates("a.weight", 8)
