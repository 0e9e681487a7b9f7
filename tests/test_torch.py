"""Every rule and option that torch has, step by step against torch.optim, in float64."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import Case, arrays_of, map_tree, random_like

import fastopt

torch = pytest.importorskip("torch")

TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}
STEPS = 20

# A step of ours, and the optimizer of torch's that it should be.
PAIRS: list[tuple[Case, str, dict[str, Any]]] = [
    (Case("sgd", {"lr": 0.1}), "SGD", {"lr": 0.1}),
    (Case("sgd", {"lr": 0.1, "l2": 0.3}), "SGD", {"lr": 0.1, "weight_decay": 0.3}),
    (Case("sgd", {"lr": 0.1, "maximize": True}), "SGD", {"lr": 0.1, "maximize": True}),
    (Case("momentum", {"lr": 0.1}), "SGD", {"lr": 0.1, "momentum": 0.9}),
    (
        Case("momentum", {"lr": 0.1, "momentum": 0.7, "dampening": 0.4, "l2": 0.01}),
        "SGD",
        {"lr": 0.1, "momentum": 0.7, "dampening": 0.4, "weight_decay": 0.01},
    ),
    (
        Case("momentum", {"lr": 0.1, "nesterov": True, "maximize": True}),
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True},
    ),
    (Case("adam", {"lr": 0.1}), "Adam", {"lr": 0.1}),
    (
        Case("adam", {"lr": 0.1, "beta1": 0.5, "beta2": 0.7, "eps": 0.1, "l2": 0.2}),
        "Adam",
        {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.1, "weight_decay": 0.2},
    ),
    (Case("adam", {"maximize": True}), "Adam", {"maximize": True}),
    (Case("adam", {"lr": 0.1, "weight_decay": 0.3}), "AdamW", {"lr": 0.1, "weight_decay": 0.3}),
    (
        Case("adafactor", {"lr": 0.1, "clamp": True, "eps1": 0.0, "weight_decay": 0.1}),
        "Adafactor",
        {"lr": 0.1, "weight_decay": 0.1},
    ),
    (
        Case("adafactor", {"clamp": True, "eps1": 0.3, "eps2": 2.0, "d": 1.1, "maximize": True}),
        "Adafactor",
        {"eps": (0.3, 2.0), "d": 1.1, "maximize": True},
    ),
    (
        Case("adafactor", {"clamp": True, "eps1": 1e-9, "beta2_decay": -0.3}),
        "Adafactor",
        {"eps": (1e-9, 1e-3), "beta2_decay": -0.3},
    ),
    (Case("rmsprop"), "RMSprop", {}),
    (
        Case("rmsprop", {"lr": 0.1, "rho": 0.7, "eps": 0.1, "l2": 0.2}),
        "RMSprop",
        {"lr": 0.1, "alpha": 0.7, "eps": 0.1, "weight_decay": 0.2},
    ),
    (
        Case("rmsprop", {"rho": 0.9}, {"centered": True}),
        "RMSprop",
        {"alpha": 0.9, "centered": True},
    ),
    (Case("rmsprop", {"momentum": 0.8}, {"momentum": True}), "RMSprop", {"momentum": 0.8}),
    (
        Case(
            "rmsprop",
            {"momentum": 0.8, "maximize": True},
            {"centered": True, "momentum": True},
        ),
        "RMSprop",
        {"momentum": 0.8, "centered": True, "maximize": True},
    ),
    (Case("adagrad"), "Adagrad", {}),
    (
        Case(
            "adagrad",
            {"lr": 0.1, "lr_decay": 0.3, "eps": 0.1, "l2": 0.2, "maximize": True},
            {"initial_accumulator_value": 0.5},
        ),
        "Adagrad",
        {
            "lr": 0.1,
            "lr_decay": 0.3,
            "eps": 0.1,
            "weight_decay": 0.2,
            "maximize": True,
            "initial_accumulator_value": 0.5,
        },
    ),
    (Case("adadelta"), "Adadelta", {}),
    (
        Case("adadelta", {"lr": 0.5, "rho": 0.7, "eps": 0.1, "l2": 0.2, "maximize": True}),
        "Adadelta",
        {"lr": 0.5, "rho": 0.7, "eps": 0.1, "weight_decay": 0.2, "maximize": True},
    ),
    (Case("adamax"), "Adamax", {}),
    (
        Case("adamax", {"lr": 0.1, "beta1": 0.5, "beta2": 0.7, "eps": 0.1, "l2": 0.2}),
        "Adamax",
        {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.1, "weight_decay": 0.2},
    ),
    (Case("adamax", {"maximize": True}), "Adamax", {"maximize": True}),
    (Case("rprop"), "Rprop", {}),
    (Case("asgd"), "ASGD", {}),
    (
        Case("asgd", {"lr": 0.1, "lambd": 0.3, "alpha": 0.5, "t0": 2.0, "l2": 0.1}),
        "ASGD",
        {"lr": 0.1, "lambd": 0.3, "alpha": 0.5, "t0": 2.0, "weight_decay": 0.1},
    ),
    (
        Case(
            "rprop",
            {
                **{"lr": 0.1, "eta_minus": 0.3, "eta_plus": 1.5, "maximize": True},
                **{"min_step_size": 0.04, "max_step_size": 0.2},
            },
        ),
        "Rprop",
        {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.04, 0.2), "maximize": True},
    ),
    (Case("amsgrad"), "Adam", {"amsgrad": True}),
    (
        Case("amsgrad", {"lr": 0.1, "beta1": 0.5, "beta2": 0.7, "eps": 0.1, "weight_decay": 0.2}),
        "AdamW",
        {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.1, "weight_decay": 0.2, "amsgrad": True},
    ),
    (Case("radam"), "RAdam", {}),
    (
        Case("radam", {"lr": 0.1, "beta1": 0.5, "beta2": 0.8, "eps": 0.1, "l2": 0.2}),
        "RAdam",
        {"lr": 0.1, "betas": (0.5, 0.8), "eps": 0.1, "weight_decay": 0.2},
    ),
    (
        Case("radam", {"weight_decay": 0.2, "maximize": True}),
        "RAdam",
        {"weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True},
    ),
    (Case("nadam"), "NAdam", {}),
    (
        Case("nadam", {"lr": 0.1, "beta1": 0.5, "eps": 0.1, "momentum_decay": 0.5, "l2": 0.2}),
        "NAdam",
        {"lr": 0.1, "betas": (0.5, 0.999), "eps": 0.1, "momentum_decay": 0.5, "weight_decay": 0.2},
    ),
    (
        Case("nadam", {"weight_decay": 0.2, "beta2": 0.7, "maximize": True}),
        "NAdam",
        {
            "weight_decay": 0.2,
            "betas": (0.9, 0.7),
            "decoupled_weight_decay": True,
            "maximize": True,
        },
    ),
]


def new_params(rng: np.random.Generator) -> list[Any]:
    return [rng.standard_normal((5, 7)), rng.standard_normal(7), np.array(rng.standard_normal())]


@pytest.mark.usefixtures("exact_numbers")
@pytest.mark.parametrize(("case", "name", "options"), PAIRS, ids=str)
def test_step_by_step(
    case: Case, name: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    params = new_params(rng)
    theirs = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in params]
    optimizer = getattr(torch.optim, name)(theirs, **options)
    state = case.new_state(params)
    for _ in range(STEPS):
        grads = map_tree(lambda p: np.array(rng.standard_normal(p.shape)), params)
        case.step(params, grads, state)
        for parameter, grad in zip(theirs, grads, strict=True):
            parameter.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        for ours, parameter in zip(params, theirs, strict=True):
            np.testing.assert_allclose(ours, parameter.detach().numpy(), **TOLERANCE)


@pytest.mark.parametrize("weights", [(False, False), (True, False), (True, True)])
def test_penalties_have_the_gradients_that_autograd_finds(
    weights: tuple[bool, bool], rng: np.random.Generator
) -> None:
    """l2 is (l2/2) * sum(p**2) and l1 is l1 * sum(abs(p)), as the docstrings say."""
    l1, l2 = 0.3 * weights[0], 0.7 * weights[1]
    p = rng.standard_normal(30)
    theirs = torch.tensor(p, requires_grad=True)
    ((theirs**3).sum() + l1 * theirs.abs().sum() + l2 / 2 * (theirs**2).sum()).backward()
    expected = p - 0.1 * theirs.grad.numpy()
    fastopt.sgd_step(p, 3 * p**2, lr=0.1, l1=l1, l2=l2)
    np.testing.assert_allclose(p, expected, **TOLERANCE)


def test_memory_of_a_tensor_is_updated_in_place(rng: np.random.Generator) -> None:
    tensor = torch.zeros(4, 3, dtype=torch.float64)
    fastopt.sgd_step(tensor.detach().numpy(), np.ones((4, 3)), lr=1.0)
    assert tensor.tolist() == [[-1.0] * 3] * 4
    transposed = torch.zeros(3, 4, dtype=torch.float64).t()
    grad = rng.standard_normal((4, 3))
    fastopt.sgd_step(transposed.numpy(), grad, lr=1.0)
    np.testing.assert_array_equal(transposed.numpy(), -grad)


def test_tensors_that_cannot_be_used() -> None:
    """The others are arrays: tests/test_tensors.py."""
    complex_ones, w = torch.ones(3, dtype=torch.complex64), torch.nn.Parameter(torch.ones(3))
    freed = torch.ones(3)
    freed.untyped_storage().resize_(0)
    for gradient, message in (
        (torch.eye(3).to_sparse()[0], "of layout torch.sparse_coo; a step takes dense ones"),
        (torch.ones(3, device="meta"), "on the device meta; a step takes memory of the host"),
        (torch.ones(3, dtype=torch.bfloat16), "of dtype torch.bfloat16; a step takes float32"),
        (complex_ones.conj(), "of dtype torch.complex64; a step takes float32"),
        (complex_ones.conj().imag, r"whose sign is still to be changed; .resolve_neg\(\)"),
        (freed, "without plain memory on the CPU"),
    ):
        with pytest.raises(TypeError, match=rf"^sgd_step: grads\[0\] is a Tensor {message}"):
            fastopt.sgd_step([w], [gradient], lr=1.0)
        with pytest.raises(TypeError, match=rf"^SGD.step: grads\[0\] is a Tensor {message}"):
            fastopt.SGD([w]).step([gradient])
    one = fastopt.SGD(torch.nn.Parameter(torch.ones(1)))  # which may lie as any other
    with pytest.raises(TypeError, match="grads is a Tensor whose sign is still to be changed"):
        one.step(complex_ones.conj().imag[:1])
    assert (w == 1).all()


def test_adam_in_float32_stays_close_to_torch(rng: np.random.Generator) -> None:
    params = random_like([np.empty(1000, np.float32)], rng)
    theirs = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in params]
    optimizer = torch.optim.Adam(theirs, lr=0.01, fused=True)
    state = fastopt.adam_init(params)
    for _ in range(STEPS):
        grads = random_like(params, rng)
        theirs[0].grad = torch.from_numpy(copy.deepcopy(grads[0]))
        fastopt.adam_step(params, grads, state, lr=0.01)
        optimizer.step()
    np.testing.assert_allclose(
        arrays_of(params)[0], theirs[0].detach().numpy(), rtol=1e-5, atol=1e-6
    )


def test_radam_divides_from_the_same_step_on(rng: np.random.Generator) -> None:
    """Where what it goes by comes to 5 within the last digits, after 90 steps."""
    for beta2 in (0.6666666666666667, 0.6666666666666676, 0.67):
        p = rng.standard_normal(5)
        parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
        theirs = torch.optim.RAdam([parameter], lr=0.1, betas=(0.9, beta2))
        state = fastopt.radam_init(p)
        for _ in range(110):
            g = rng.standard_normal(5)
            fastopt.radam_step(p, g, state, lr=0.1, beta2=beta2)
            parameter.grad = torch.from_numpy(g)
            theirs.step()
            np.testing.assert_allclose(p, parameter.detach().numpy(), rtol=1e-12, atol=1e-12)
