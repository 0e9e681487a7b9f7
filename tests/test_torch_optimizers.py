"""fastopt.torch against torch's own classes: in all that users do with an optimizer."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastopt

torch: Any = pytest.importorskip("torch", minversion="2.10")
ours: Any = pytest.importorskip("fastopt.torch")

DTYPE = torch.float64
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "maximize": True}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", {"lr": 0.1}),
    ("Adafactor", {"lr": 1.0, "weight_decay": 0.1, "d": 1.25, "beta2_decay": -0.5}),
    ("Adafactor", {"eps": (0.3, 0.1), "maximize": True}),
    ("Rprop", {}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 4, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.04, 0.2), "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "betas": (0.5, 0.7)}),
    ("AdamW", {"amsgrad": True, "weight_decay": 0.3}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.8), "weight_decay": 0.1}),
    ("RAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.1, "betas": (0.5, 0.8), "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("Lion", {"lr": 0.1}),
    ("Lion", {"lr": 0.1, "betas": (0.5, 0.8), "weight_decay": 0.1}),
]
ids = [f"{name}-{'-'.join(options)}" for name, options in CASES]


def parameters(seed: int = 0, dtype: Any = DTYPE) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 4), (4,), (), (2, 3, 4, 5), (1,), (0, 2)]
    new = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    new[3] = new[3].to(memory_format=torch.channels_last)
    return [torch.nn.Parameter(p) for p in new]


def theirs_of(name: str) -> Any:
    return getattr(torch.optim, name, None) or getattr(pytest.importorskip("lion_pytorch"), name)


class Pair:
    """An optimizer of ours and one of torch's, to which the same is done."""

    parameters = staticmethod(parameters)
    tolerance = 1e-12

    def __init__(self, name: str, **options: Any) -> None:
        self.classes = getattr(ours, name), theirs_of(name)
        self.params = self.parameters(), self.parameters()
        self.opts = [
            make([{"params": params[:3]}, {"params": params[3:5], "lr": 0.02}], **options)
            for make, params in zip(self.classes, self.params, strict=True)
        ]

    def each(self, change: Callable[[Any, list[Any]], Any]) -> None:
        for opt, params in zip(self.opts, self.params, strict=True):
            change(opt, params)

    def step(self, seed: int, without: tuple[int, ...] = (), **arguments: Any) -> None:
        def gradients(_opt: Any, params: list[Any]) -> None:
            for number, (p, g) in enumerate(zip(params, self.parameters(100 + seed), strict=True)):
                p.grad = None if number in without else g.detach()

        self.each(gradients)
        self.each(lambda opt, params: opt.step(**arguments))
        self.check()

    def check(self) -> None:
        for mine, theirs in zip(*self.params, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=self.tolerance, atol=self.tolerance)
        mine, theirs = (opt.state_dict() for opt in self.opts)
        assert mine["state"].keys() == theirs["state"].keys()
        for key, state in theirs["state"].items():
            for name, value in state.items():
                if value is not None:
                    torch.testing.assert_close(
                        mine["state"][key][name], value, rtol=self.tolerance, atol=self.tolerance
                    )
        for group, of_torch in zip(mine["param_groups"], theirs["param_groups"], strict=True):
            assert {key: group[key] for key in of_torch} == of_torch

    def replace(self, change: Callable[[Any, list[Any]], Any]) -> None:
        made = [change(*each) for each in zip(self.opts, self.params, strict=True)]
        self.opts = [opt for opt, _ in made]
        self.params = tuple(params for _, params in made)


def swapped_states(pair: Pair) -> None:
    """Each goes on from the state of the other."""
    mine, theirs = (copy.deepcopy(opt.state_dict()) for opt in pair.opts)
    extra = pair.opts[0]._terms.keys()
    for group in mine["param_groups"]:
        for key in extra:
            del group[key]
    for opt, state in zip(pair.opts, (theirs, mine), strict=True):
        opt.load_state_dict(state)


def exchanged_memory(_opt: Any, params: list[Any]) -> None:
    for p in params:
        p.data = p.data.clone()
    weights = torch.nn.utils.parameters_to_vector(params[:3])
    torch.nn.utils.vector_to_parameters(weights, params[:3])


def through_a_file(opt: Any, params: list[Any]) -> Any:
    file = io.BytesIO()
    torch.save({"opt": opt.state_dict(), "params": params}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    groups = [
        {"params": [loaded["params"][place] for place in group["params"]]}
        for group in loaded["opt"]["param_groups"]
    ]
    new = type(opt)(groups, lr=0.7)
    new.load_state_dict(loaded["opt"])
    return new, loaded["params"]


def set_in_groups(opt: Any, _params: list[Any]) -> None:
    group = opt.param_groups[1]
    group["lr"] = torch.tensor(0.05, dtype=torch.float64)
    group["weight_decay"] = 0.2
    if "betas" in group:
        group["betas"] = (0.7, 0.8)
    if "nesterov" in group and group["momentum"]:
        group["momentum"] = 0.6


CHANGES: dict[str, Callable[[Pair], None]] = {
    "memory": lambda pair: pair.each(exchanged_memory),
    "states": swapped_states,
    "file": lambda pair: pair.replace(through_a_file),
    "copy": lambda pair: pair.replace(lambda *each: copy.deepcopy(each)),
    "pickle": lambda pair: pair.replace(lambda *each: pickle.loads(pickle.dumps(each))),
    "groups": lambda pair: pair.each(set_in_groups),
    "tensor lr": lambda pair: pair.each(
        lambda opt, _: (
            opt.param_groups[1]["lr"].mul_(0.5)
            if isinstance(opt.param_groups[1]["lr"], torch.Tensor)
            else None
        )
    ),
    "new group": lambda pair: pair.each(
        lambda opt, params: (
            opt.add_param_group({"params": [params[5]], "lr": 0.3})
            if len(opt.param_groups) == 2
            else None
        )
    ),
    "zero": lambda pair: pair.each(lambda opt, _: opt.zero_grad(set_to_none=False)),
    "none": lambda pair: pair.each(lambda opt, _: opt.zero_grad()),
    "freeze": lambda pair: pair.each(lambda _, params: params[0].requires_grad_(False)),
    "thaw": lambda pair: pair.each(lambda _, params: params[0].requires_grad_(True)),
    "edit state": lambda pair: pair.each(edit_state),
    "forget": lambda pair: pair.each(lambda opt, params: opt.state.pop(params[1], None)),
}


def edit_state(opt: Any, params: list[Any]) -> None:
    for state in opt.state.values():
        for name, value in state.items():
            if value is not None:
                state[name] = value + 1 if name == "step" else value * 0.5


# torch's Adagrad has states for what it was made with alone, and lion-pytorch's Lion loses some of
# its attributes when it is copied: both fail after that.
FAILING = {
    "Adafactor": {"new group"},  # of an empty tensor: torch divides by its size
    "Adagrad": {"new group", "forget"},
    "Lion": {"copy", "pickle"},
}


def check_all_mixed(name: str, options: dict[str, Any], make: type[Pair] = Pair) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        pair = make(name, **options)
        for step in range(12):
            change = str(rng.choice([c for c in CHANGES if c not in FAILING.get(name, ())]))
            if change == "freeze":
                pair.step(step, without=(0,))
            CHANGES[change](pair)
            without = tuple(int(k) for k in rng.choice(6, rng.integers(3), replace=False))
            pair.step(step + 100 * seed, without)


@pytest.mark.usefixtures("exact_numbers")
@pytest.mark.parametrize(("name", "options"), CASES, ids=ids)
def test_all_mixed(name: str, options: dict[str, Any]) -> None:
    check_all_mixed(name, options)


def test_momentum_switched_on_and_off() -> None:
    pair = Pair("SGD", lr=0.1)
    for step, momentum in enumerate([0, 0.9, 0.9, 0, 0, 0.5, 0]):
        pair.opts[0].param_groups[1]["momentum"] = momentum
        pair.opts[1].param_groups[1]["momentum"] = momentum
        pair.step(step)
        pair.step(step + 50, without=(4,))


def test_parameters_that_change_their_group() -> None:
    """In the order that they had, so that only the sizes of the groups tell."""

    def move(opt: Any, _params: list[Any]) -> None:
        first, second = opt.param_groups
        second["params"].insert(0, first["params"].pop())

    pair = Pair("SGD", lr=0.5, momentum=0.9)
    pair.step(0)
    pair.each(move)
    pair.step(1)


SCHEDULERS: dict[str, Callable[[Any, Any], Any]] = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 0.9**epoch),
    "StepLR": lambda s, o: s.StepLR(o, 2),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 10),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=20),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 10),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.9),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 2), s.LinearLR(o)], milestones=[2]
    ),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=1),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers(scheduler: str) -> None:
    for name in ("Adam", "SGD"):
        pair = Pair(name, **({"momentum": 0.9} if name == "SGD" else {}))
        made = [SCHEDULERS[scheduler](torch.optim.lr_scheduler, opt) for opt in pair.opts]
        for step in range(6):
            pair.step(step)
            for each in made:
                each.step(*([1.0] if scheduler == "ReduceLROnPlateau" else []))


def test_closures() -> None:
    pair = Pair("SGD", lr=0.1)
    for opt, params in zip(pair.opts, pair.params, strict=True):

        def closure(opt: Any = opt, params: Any = params) -> Any:
            opt.zero_grad()
            loss = sum((p**2).sum() for p in params)
            loss.backward()
            return loss

        with torch.no_grad():
            assert opt.step(closure) > 0
    pair.check()


def test_grad_scaler() -> None:
    pair = Pair("Adam")
    scalers = [torch.amp.GradScaler("cpu", init_scale=64.0) for _ in pair.opts]
    for factor in (1.0, float("inf"), 2.0):
        for opt, params, scaler in zip(pair.opts, pair.params, scalers, strict=True):
            opt.zero_grad()
            loss = sum((p**2).sum() * factor for p in params[:5])
            scaler.scale(loss).backward()
            scaler.step(opt)
            scaler.update()
        pair.check()


def test_new_parameters_of_adagrad_start_as_the_others() -> None:
    p, q = (torch.nn.Parameter(torch.zeros(2, dtype=DTYPE)) for _ in range(2))
    opt = ours.Adagrad([p], lr=1.0, eps=0.0, initial_accumulator_value=3.0)
    opt.add_param_group({"params": [q]})
    for each in (p, q):
        each.grad = torch.ones(2, dtype=DTYPE)
    opt.step()
    assert p.tolist() == q.tolist() == [-0.5, -0.5]
    assert opt.state[q]["sum"].tolist() == [4.0, 4.0]


def test_states_of_adagrad_before_the_first_step() -> None:
    """torch makes them at once: they may be replaced, shared, and be those of frozen ones."""
    pair = Pair("Adagrad", lr=0.1)
    pair.each(lambda opt, params: opt.state[params[0]].update(sum=torch.full_like(params[0], 9.0)))
    pair.step(0)
    pair.each(lambda opt, _params: opt.share_memory())
    pair.step(1)
    frozen = torch.ones(3, dtype=torch.half)
    p = torch.nn.Parameter(torch.zeros(2, dtype=DTYPE))
    opt = ours.Adagrad([p, frozen], lr=1.0, eps=0.0, initial_accumulator_value=3.0)
    assert opt.state_dict()["state"][0]["sum"].tolist() == [3.0, 3.0]
    p.grad = torch.ones(2, dtype=DTYPE)
    opt.step()
    assert p.tolist() == [-0.5, -0.5]
    q = torch.nn.Parameter(torch.zeros(2, dtype=DTYPE))
    opt.add_param_group({"params": [q]})
    assert opt.state_dict()["state"][2]["sum"].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("name", [name for name in ours.__all__ if name != "Muon"])
def test_options_of_ours(name: str) -> None:
    options = {"l1": 0.01, "clip_norm": 0.5, "ema_decay": 0.9, "clip_value": 0.3, "threads": 1}
    p = torch.nn.Parameter(torch.linspace(-1, 1, 7, dtype=DTYPE))
    q = p.detach().numpy().copy()
    opt = getattr(ours, name)([p], lr=0.1, **options)
    if name == "SophiaG":  # whose names and defaults are those of its authors
        other = fastopt.Sophia(q, lr=0.1, rho=0.04 * 5120, weight_decay=0.1, **options)
    else:
        other = getattr(fastopt, name)(q, lr=0.1, **options)
    for step in range(4):
        p.grad = torch.linspace(step, 2, 7, dtype=DTYPE)
        found = other.step(p.grad.numpy())
        opt.step()
        assert opt.result == found
        if step == 1:  # all of it survives
            opt, p = pickle.loads(pickle.dumps((opt, p)))
        assert (p.detach().numpy() == q).all()
    state = opt.state_dict()["state"][0]
    assert (state["ema"].numpy() == other.ema).all()
    with opt.averaged():
        assert (p.detach().numpy() == other.ema).all()
    opt.options["clip_norm"] = None
    opt.step()
    assert opt.result is None
    with pytest.raises(
        TypeError, match=rf"^{name}: there is no option 'l2'(; use weight_decay=|$)"
    ):
        getattr(ours, name)([p], l2=0.1)


def test_the_state_of_another_optimizer_is_refused() -> None:
    p = torch.nn.Parameter(torch.ones(3, dtype=DTYPE))
    saved = ours.FTRL([p]).state_dict()
    opt = ours.SophiaG([p], lr=0.1)
    with pytest.raises(
        ValueError, match=r"^SophiaG\.load_state_dict: param_groups have no '\w+': "
    ):
        opt.load_state_dict(saved)
    assert opt.param_groups[0]["lr"] == 0.1
    assert "initial_accumulator_value" not in opt.param_groups[0]


@pytest.mark.parametrize("bs", [-1, float("nan"), float("inf"), "a", True])
def test_batch_sizes_of_sophia_are_checked(bs: Any) -> None:
    p = torch.nn.Parameter(torch.ones(3, dtype=DTYPE))
    with pytest.raises((TypeError, ValueError), match=r"^SophiaG: bs must be "):
        ours.SophiaG([p], bs=bs)


@pytest.mark.parametrize("bs", [2, np.float32(2), np.int64(2)])
def test_batch_sizes_of_sophia_are_any_numbers(bs: Any) -> None:
    p, q = (torch.nn.Parameter(torch.ones(3, dtype=DTYPE)) for _ in range(2))
    for param, size in ((p, bs), (q, 2.0)):
        opt = ours.SophiaG([param], lr=0.1, bs=size)
        param.grad = torch.full_like(param, 0.5)
        opt.update_hessian()
        opt.step()
    assert torch.equal(p, q)
