"""The classes for rules that torch has not, which are ours, bit for bit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastopt

torch: Any = pytest.importorskip("torch", minversion="2.10")
ours: Any = pytest.importorskip("fastopt.torch")
from test_torch_optimizers import parameters  # noqa: E402  # which needs torch, too

LAMBS = {
    "decay": ({"weight_decay": 0.1}, {"trust_decay": 0.1}),
    "plain": ({"weight_decay": 0.0, "always_adapt": False, "bias_correction": False},) * 2,
    "terms": ({"trust_clip": True, "maximize": True, "l1_prox": 0.1, "scaled_prox": True},) * 2,
}


@pytest.mark.parametrize("name", LAMBS)
def test_lamb_is_ours(name: str) -> None:
    """It is no class of torch's: `fastopt.LAMB` is compared with timm's."""
    its, own = LAMBS[name]
    options = {"trust_decay" if key == "weight_decay" else key: own[key] for key in own}
    params, arrays = parameters(), [p.detach().numpy().copy(order="K") for p in parameters()]
    opt = ours.LAMB(params, lr=0.1, betas=(0.8, 0.9), eps=1e-3, **its)
    other = fastopt.LAMB(arrays, lr=0.1, beta1=0.8, beta2=0.9, eps=1e-3, **options)
    for step in range(8):
        grads = [None if (step + i) % 3 == 2 else p for i, p in enumerate(parameters(100 + step))]
        for p, g in zip(params, grads, strict=True):
            p.grad = None if g is None else g.detach()
        opt.step()
        other.step([None if g is None else g.detach().numpy() for g in grads])
        for p, array in zip(params, arrays, strict=True):
            np.testing.assert_array_equal(p.detach().numpy(), array)
    loaded = ours.LAMB(params, lr=0.5)
    loaded.load_state_dict(opt.state_dict())
    assert loaded.state[params[0]].keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert loaded.param_groups[0]["lr"] == 0.1
    del loaded.state[params[0]]["step"]  # as timm has it
    before = params[0].detach().clone()
    with pytest.raises(ValueError, match="LAMB: a state has no 'step'"):
        loaded.step()
    assert torch.equal(params[0], before)


SCHEDULED = {"warmup_steps": 3.0, "r": 0.5, "weight_lr_power": 1.5}
OURS: list[tuple[str, dict[str, Any], dict[str, Any], set[str]]] = [
    (
        "AdEMAMix",
        {"betas": (0.8, 0.9, 0.95), "alpha": 2.0, "alpha_warmup": 3.0, "beta3_warmup": 5.0},
        {
            **{"beta1": 0.8, "beta2": 0.9, "beta3": 0.95},
            **{"alpha": 2.0, "alpha_warmup": 3.0, "beta3_warmup": 5.0},
        },
        {"exp_avg_fast", "exp_avg_slow", "exp_avg_sq"},
    ),
    (
        "ADOPT",
        {"betas": (0.8, 0.9), "update_clip": False},
        {"beta1": 0.8, "beta2": 0.9, "update_clip": False},
        {"exp_avg", "exp_avg_sq"},
    ),
    (
        "AdaBelief",
        {"betas": (0.8, 0.9), "scaled_prox": True},
        {"beta1": 0.8, "beta2": 0.9, "scaled_prox": True},
        {"exp_avg", "exp_avg_var"},
    ),
    (
        "Adan",
        {"betas": (0.8, 0.9, 0.95), "bias_correction": False},
        {"beta1": 0.8, "beta2": 0.9, "beta3": 0.95, "bias_correction": False},
        {"exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad"},
    ),
    (
        "FTRL",
        {"lambda1": 0.1, "lambda2": 0.2, "beta": 0.3, "initial_accumulator_value": 0.5},
        {"lambda1": 0.1, "lambda2": 0.2, "beta": 0.3, "initial_accumulator_value": 0.5},
        {"accumulator", "linear"},
    ),
    (
        "LARS",
        {"momentum": 0.8, "dampening": 0.3, "nesterov": True, "trust_coeff": 0.5},
        {"momentum": 0.8, "dampening": 0.3, "nesterov": True, "trust_coeff": 0.5},
        {"momentum_buffer"},
    ),
    (
        "ScheduleFreeSGD",
        {"momentum": 0.8, **SCHEDULED},
        {"momentum": 0.8, **SCHEDULED},
        {"z", "weight_sum", "lr_max"},
    ),
    (
        "ScheduleFreeAdamW",
        {"betas": (0.8, 0.9), **SCHEDULED},
        {"beta1": 0.8, "beta2": 0.9, **SCHEDULED},
        {"z", "exp_avg_sq", "weight_sum", "lr_max"},
    ),
    (
        "Prodigy",
        {"betas": (0.8, 0.9), "beta3": 0.7, "d0": 0.1, "growth_rate": 1.5},
        {"beta1": 0.8, "beta2": 0.9, "beta3": 0.7, "d0": 0.1, "growth_rate": 1.5},
        {"exp_avg", "exp_avg_sq", "s", "p0", "d", "d_max", "d_numerator"},
    ),
    (
        "Prodigy",
        {"use_bias_correction": True, "safeguard_warmup": True, "d_coef": 2.0, "per_array": True},
        {"use_bias_correction": True, "safeguard_warmup": True, "d_coef": 2.0, "per_array": True},
        {"exp_avg", "exp_avg_sq", "s", "p0", "d", "d_max", "d_numerator"},
    ),
    (
        "RowWiseAdagrad",
        {"lr_decay": 0.1, "initial_accumulator_value": 0.1, "scaled_prox": True},
        {
            **{"lr_decay": 0.1, "initial_accumulator_value": 0.1, "scaled_prox": True},
            **{"l2": 0.1, "weight_decay": 0.0},
        },
        {"sum"},
    ),
    ("Signum", {"momentum": 0.8}, {"momentum": 0.8}, {"momentum_buffer"}),
    (
        "AdamW",
        {"betas": (0.8, 0.9), "cautious": True},
        {"beta1": 0.8, "beta2": 0.9, "cautious": True},
        {"exp_avg", "exp_avg_sq"},
    ),
    (
        "Lion",
        {"betas": (0.8, 0.9), "cautious": True},
        {"beta1": 0.8, "beta2": 0.9, "cautious": True},
        {"exp_avg"},
    ),
    (
        "NAdam",
        {"betas": (0.8, 0.9), "decoupled_weight_decay": True, "cautious": True},
        {"beta1": 0.8, "beta2": 0.9, "cautious": True},
        {"exp_avg", "exp_avg_sq", "mu_product"},
    ),
    (
        "Yogi",
        {"betas": (0.8, 0.9), "initial_accumulator_value": 0.1, "bias_correction": False},
        {
            **{"beta1": 0.8, "beta2": 0.9, "bias_correction": False},
            "initial_accumulator_value": 0.1,
        },
        {"exp_avg", "exp_avg_sq"},
    ),
]


WITHOUT_EPS = {"FTRL", "Lion", "ScheduleFreeSGD", "Signum"}
DECAYS = {
    "LARS": "trust_decay",
    "Prodigy": "d_decay",
    "ScheduleFreeAdamW": "y_decay",
    "ScheduleFreeSGD": "l2",
}
"""What their weight decay is of ours, which is not that of all rules."""


@pytest.mark.parametrize(("name", "its", "own", "arrays_of_state"), OURS)
def test_what_torch_has_not_is_ours(
    name: str, its: dict[str, Any], own: dict[str, Any], arrays_of_state: set[str]
) -> None:
    """Bit for bit, with gradients that are missing, and from a state in the middle."""
    common = {"lr": 0.1, "weight_decay": 0.1, "l1_prox": 0.1, "maximize": True}
    if name not in WITHOUT_EPS:
        common["eps"] = 1e-3
    params, arrays = parameters(), [p.detach().numpy().copy(order="K") for p in parameters()]
    opt = getattr(ours, name)(params, **its, **common)
    if name in DECAYS:
        own = {**own, DECAYS[name]: common["weight_decay"], "weight_decay": 0.0}
    other = getattr(fastopt, name)(arrays, **{**common, **own})
    for step in range(8):
        if step == 4:
            state, opt = opt.state_dict(), getattr(ours, name)(params, lr=0.5)
            opt.load_state_dict(state)
        grads = [None if (step + i) % 3 == 2 else p for i, p in enumerate(parameters(100 + step))]
        for p, g in zip(params, grads, strict=True):
            p.grad = None if g is None else g.detach()
        opt.step()
        other.step([None if g is None else g.detach().numpy() for g in grads])
        for p, array in zip(params, arrays, strict=True):
            np.testing.assert_array_equal(p.detach().numpy(), array)
    counted = set() if name == "Lion" else {"step"}
    assert opt.state[params[0]].keys() == counted | arrays_of_state


def test_cautious_of_groups() -> None:
    params = parameters()[:2]
    opt = ours.Adam([{"params": [p]} for p in params], cautious=True, betas=(0.5, 0.9))
    arrays = [p.detach().numpy().copy() for p in params]
    other = fastopt.Adam(arrays, cautious=True, beta1=0.5, beta2=0.9)
    for step in range(6):
        if step == 3:  # a class without, which goes on with the state
            state = other.groups[0].state
            state = fastopt.AdamState(state.step, list(state.m), list(state.v))
            other = fastopt.Adam(arrays, state=state, beta1=0.5, beta2=0.9)
            for group in opt.param_groups:
                group["cautious"] = False
        grads = [p.detach() for p in parameters(100 + step)[:2]]
        for p, g in zip(params, grads, strict=True):
            p.grad = g
        opt.step()
        other.step([g.numpy() for g in grads])
        for p, array in zip(params, arrays, strict=True):
            np.testing.assert_array_equal(p.detach().numpy(), array)
    before = [p.detach().clone() for p in params]
    opt.param_groups[1]["cautious"] = True
    with pytest.raises(ValueError, match="Adam: cautious must be the same in all groups"):
        opt.step()
    assert all(map(torch.equal, params, before))
    opt.param_groups[1]["cautious"] = "False"
    with pytest.raises(TypeError, match=r"Adam: param_groups\[1\]: cautious must be True or False"):
        opt.step()
    for name in ("Adam", "AdamW"):
        with pytest.raises(ValueError, match=f"^{name}: amsgrad and cautious exclude each other"):
            getattr(ours, name)(params, amsgrad=True, cautious=True)


@pytest.mark.parametrize("name", ["ScheduleFreeSGD", "ScheduleFreeAdamW"])
def test_evaluation(name: str) -> None:
    """The tensors are what ours are, within the block and after it."""
    w = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    q = w.detach().numpy().copy()
    opt, other = getattr(ours, name)([w], lr=0.5), getattr(fastopt, name)(q, lr=0.5)
    for step in range(3):
        w.grad = torch.linspace(step, 2, 7)
        opt.step()
        other.step(w.grad.numpy())
    before, version = w.detach().clone(), w._version
    with opt.evaluation(), other.evaluation():
        assert w._version > version
        version = w._version
        assert (w.detach().numpy() == q).all()
        assert not torch.equal(w, before)
        with pytest.raises(RuntimeError, match="for evaluation stand in place"):
            opt.step()
    assert torch.equal(w, before)
    assert w._version > version


def test_sophia_is_ours() -> None:
    """Bit for bit, with two groups, gradients that are missing, and from a state in the middle."""
    params, arrays = parameters(), [p.detach().numpy().copy(order="K") for p in parameters()]
    betas, own = (0.8, 0.6), {"lr": 0.1, "beta1": 0.8, "weight_decay": 0.1, "maximize": True}

    def groups() -> list[dict[str, Any]]:
        return [{"params": params[:3]}, {"params": params[3:], "betas": (0.8, 0.9)}]

    def give(grads: list[Any]) -> None:
        for p, g in zip(params, grads, strict=True):
            p.grad = g

    opt = ours.SophiaG(groups(), lr=0.1, betas=betas, rho=0.5, maximize=True)
    other = fastopt.Sophia([{"params": arrays[:3]}, {"params": arrays[3:]}], **own, rho=2.0)
    for step in range(8):
        if step == 3:
            state, opt = opt.state_dict(), ours.SophiaG(groups(), lr=0.5)
            opt.load_state_dict(state)
        new = parameters(100 + step)
        grads = [None if (step + i) % 3 == 2 else p.detach() for i, p in enumerate(new)]
        for group, beta2 in ((0, 0.6), (1, 0.9)) if step % 3 == 0 else ():
            some = [g if (i >= 3) == group else None for i, g in enumerate(grads)]
            give(some)
            opt.update_hessian()
            squares = [None if g is None else (g * g).numpy() for g in some]
            other.update_hessian([squares[:3], squares[3:]], beta2=beta2)
        give(grads)
        plain = [None if g is None else g.numpy() for g in grads]
        opt.step(bs=4)
        other.step([plain[:3], plain[3:]])
        for p, array in zip(params, arrays, strict=True):
            np.testing.assert_array_equal(p.detach().numpy(), array)
    assert opt.state[params[0]].keys() == {"step", "exp_avg", "hessian"}
    before = [opt.state[p]["hessian"].clone() for p in params]
    for own_betas, said in (((0.8, 0.9), r"groups have betas\[1\]=0.6 and 0.9"), (None, "beta2")):
        opt.param_groups[1]["betas"] = own_betas or (0.8, 1.0)
        opt.param_groups[0]["betas"] = betas if own_betas else (0.8, 1.0)
        with pytest.raises(ValueError, match=rf"^Sophia(G)?\.update_hessian: .*{said}"):
            opt.update_hessian()
        for p, h in zip(params, before, strict=True):
            assert torch.equal(opt.state[p]["hessian"], h)


def test_a_hessian_before_the_first_step_is_kept() -> None:
    w = torch.nn.Parameter(torch.ones(3))
    opt = ours.SophiaG([w], betas=(0.9, 0.5))
    w.grad = torch.full((3,), 2.0)
    opt.update_hessian()
    opt.add_param_group({"params": torch.nn.Parameter(torch.ones(2))})
    loaded = ours.SophiaG([{"params": [w]}, {"params": [torch.nn.Parameter(torch.ones(2))]}])
    loaded.load_state_dict(opt.state_dict())
    for each in (opt, loaded):
        assert each.state[w]["hessian"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", ["ScheduleFreeSGD", "ScheduleFreeAdamW", "Prodigy"])
def test_states_that_lack_a_number_are_refused(name: str) -> None:
    """Such as those of schedulefree's own classes, which have it in their groups."""
    w = torch.nn.Parameter(torch.ones(3))
    opt, w.grad = getattr(ours, name)([w]), torch.ones(3)
    opt.step()
    before, state = w.detach().clone(), copy.deepcopy(opt.state_dict())
    number = "d_max" if name == "Prodigy" else "weight_sum"
    del state["state"][0][number]
    with pytest.raises(ValueError, match=f"^{name}: the state of parameter 0 has no '{number}'"):
        opt.load_state_dict(state)
    assert torch.equal(w, before)
    assert number in opt.state[w]


def test_numbers_of_states_are_loaded_as_they_were() -> None:
    """torch casts what it loads to the dtype of the parameter, as arrays need it."""
    w = torch.nn.Parameter(torch.ones(3))
    opt = ours.NAdam([w], lr=0.03, betas=(0.8, 0.9))
    for _ in range(3):
        w.grad = torch.ones(3)
        opt.step()
    product = opt.state[w]["mu_product"]
    loaded = ours.NAdam([w])
    loaded.load_state_dict(opt.state_dict())
    assert product.dtype == loaded.state[w]["mu_product"].dtype == torch.float64
    assert float(loaded.state[w]["mu_product"]) == float(product)
    assert float(product) != float(np.float32(float(product)))
    w.grad = torch.ones(3)
    loaded.step()
    assert float(opt.state[w]["mu_product"]) == float(product)  # each has its own


@pytest.mark.parametrize(
    ("eps", "error", "message"),
    [
        ((0.0, 1e-3), ValueError, r"eps\[0\] must be None, .* or > 0, it is 0\.0"),
        ((-1.0, 1e-3), ValueError, r"eps\[0\] must be None, .* or > 0, it is -1\.0"),
        (1e-3, TypeError, r"eps must be two numbers, not 0\.001"),
        ((None, None), TypeError, r"eps must be two numbers, not \(None, None\)"),
        (("a", 1.0), TypeError, r"eps must be two numbers, not \('a', 1\.0\)"),
    ],
)
def test_eps_of_adafactor(eps: Any, error: type[Exception], message: str) -> None:
    """Ours of 0 is torch's None; torch's 0 would make NaN of gradients that are 0."""
    params = parameters()[:2]
    opt = ours.Adafactor([{"params": [p]} for p in params])
    for p in params:
        p.grad = torch.ones_like(p)
    opt.step()
    opt.param_groups[1]["eps"] = eps
    with pytest.raises(error, match=rf"^Adafactor: param_groups\[1\]: {message}"):
        opt.step()
    state = opt.state_dict()
    with pytest.raises(error, match=rf"^from_torch_state: param_groups\[1\]: {message}"):
        fastopt.interop.from_torch_state(state, ["a", "b"])


def test_a_state_of_a_vector_is_none_of_a_matrix() -> None:
    vector, matrix = (torch.nn.Parameter(torch.ones(shape)) for shape in ((12,), (3, 4)))
    for one, other in ((vector, matrix), (matrix, vector)):
        its, opt = torch.optim.Adafactor([one]), ours.Adafactor([other])
        one.grad = torch.ones_like(one)
        its.step()
        with pytest.raises(ValueError, match=r"state of parameter 0 has (variance|row_var), and"):
            opt.load_state_dict(its.state_dict())


def test_means_of_another_order_of_memory() -> None:
    made = [torch.nn.Parameter(torch.ones(4, 6, 3, 3)) for _ in range(2)]
    its, opt = torch.optim.Adafactor(made[:1]), ours.Adafactor(made[1:])
    for _ in range(3):
        for p in made:
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
        its.step()
        state = its.state_dict()
        last = torch.channels_last
        state["state"][0]["row_var"] = state["state"][0]["row_var"].to(memory_format=last)
        opt.load_state_dict(state)
        opt.step()
        opt.step()
        assert float(opt.state[made[1]]["step"]) == float(its.state[made[0]]["step"]) + 2


def test_shapes_of_means() -> None:
    params = parameters()[:5]
    opt = ours.Adafactor(params)
    for p in params:
        p.grad = torch.ones_like(p)
    opt.step()
    found = [{name: tuple(a.shape) for name, a in opt.state[p].items()} for p in params]
    assert found[0] == {"step": (), "row_var": (3, 1), "col_var": (1, 4)}
    assert found[1] == {"step": (), "variance": (4,)}
    assert found[3] == {"step": (), "row_var": (2, 3, 4, 1), "col_var": (2, 3, 1, 5)}
    opt.state[params[0]]["row_var"] = torch.zeros(3, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"row_var of parameter 0 has shape \(3, 4\) .*\(3, 1\)"):
        opt.step()
