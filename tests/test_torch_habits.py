"""What users of torch's optimizers rely on besides the numbers: hooks, refusals, processes."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", minversion="2.10")
ours: Any = pytest.importorskip("fastopt.torch")


def test_hooks() -> None:
    from torch.optim.optimizer import (  # noqa: PLC0415
        register_optimizer_step_post_hook,
        register_optimizer_step_pre_hook,
    )

    for make in (ours.SGD, torch.optim.SGD):
        seen: list[Any] = []
        p = torch.nn.Parameter(torch.zeros(2))
        opt = make([p], lr=1.0)

        def note(word: str, seen: list[Any] = seen, p: Any = p) -> Any:
            return lambda of, args, _: seen.append((word, float(p.detach()[0]), args[0] is of))

        handles = [
            register_optimizer_step_pre_hook(note("global before")),
            register_optimizer_step_post_hook(note("global after")),
            opt.register_step_pre_hook(note("before")),
            opt.register_step_post_hook(note("after")),
        ]
        p.grad = torch.ones(2)
        opt.step()
        for handle in handles:
            handle.remove()
        opt.step()
        assert seen == [
            ("global before", 0.0, True),
            ("before", 0.0, True),
            ("after", -1.0, True),
            ("global after", -1.0, True),
        ]
        assert float(p.detach()[0]) == -2


def test_hooks_of_states() -> None:
    seen: list[str] = []
    opt = ours.Adam([torch.nn.Parameter(torch.ones(3))])
    opt.register_state_dict_pre_hook(lambda *_: seen.append("state_dict"))
    opt.register_state_dict_post_hook(lambda *_: seen.append("made"))
    opt.register_load_state_dict_pre_hook(lambda *_: seen.append("load"))
    opt.register_load_state_dict_post_hook(lambda *_: seen.append("loaded"))
    opt.load_state_dict(opt.state_dict())
    assert seen == ["state_dict", "made", "load", "loaded"]


def test_version_counters() -> None:
    """A backward pass through values that a step has changed must not go undetected."""
    w = torch.nn.Parameter(torch.ones(3))
    opt = ours.SGD([w], lr=0.1)
    loss = (w**2).sum()
    w.grad = torch.ones(3)
    opt.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_gradients_of_other_layouts() -> None:
    w = torch.nn.Parameter(torch.ones(3, 4))
    opt = ours.SGD([w], lr=1.0)
    w.grad = torch.tensor(0.5).expand(3, 4)
    opt.step()
    w.grad = torch.arange(12.0).reshape(4, 3).T
    opt.step()
    assert torch.equal(w.detach(), 0.5 - torch.arange(12.0).reshape(4, 3).T)


def requiring_grad(tensor: Any) -> Any:
    return tensor.requires_grad_()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: ours.RAdam([p], capturable=True), "RAdam: capturable=True is not available"),
        (lambda p: ours.NAdam([p], capturable=True), "NAdam: capturable=True is not available"),
        (lambda p: ours.Adam([p], capturable=True), "Adam: capturable=True is not available"),
        (lambda p: ours.SGD([p], differentiable=True), "SGD: differentiable=True is not"),
        (
            lambda p: ours.SGD([p.half().requires_grad_()]),
            r"SGD: params\[0\] is a Tensor of dtype torch.float16",
        ),
        (
            lambda p: ours.SGD([p.cfloat().requires_grad_()]),
            r"SGD: params\[0\] is a Tensor of dtype torch.complex",
        ),
        (
            lambda p: ours.SGD([p.to("meta").requires_grad_()]),
            r"SGD: params\[0\] is a Tensor on the device meta",
        ),
        (lambda p: ours.SGD([p], momentum=1.5), "^SGD: .*momentum"),
    ],
)
def test_refused(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make(torch.ones(3))


def test_a_refused_step_changes_nothing() -> None:
    w, b = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    opt = ours.Adam([w, b], lr=0.1)
    w.grad = b.grad = torch.linspace(-1, 1, 3)
    opt.step()

    def everything() -> list[Any]:
        states = opt.state_dict()["state"].values()
        return [w.tolist(), b.tolist(), *(value.tolist() for s in states for value in s.values())]

    def refused(message: str) -> None:
        before = everything()
        with pytest.raises((TypeError, ValueError), match=message):
            opt.step()
        assert everything() == before

    b.grad = torch.eye(3).to_sparse()[0]
    refused(r"^Adam.step: grads\[1\] is a Tensor of layout torch.sparse_coo")
    b.grad = torch.ones(3)
    opt.param_groups[0]["lr"] = -1.0
    refused("lr must be")
    opt.param_groups[0]["lr"] = 0.1
    opt.param_groups[0]["capturable"] = True
    refused(r"^Adam: param_groups\[0\]: capturable=True is not available")
    opt.param_groups[0]["capturable"] = False
    for added, message in (
        ({"params": [requiring_grad(torch.ones(2).half())]}, r"dtype torch\.float16"),
        (
            {"params": [requiring_grad(torch.ones(2))], "clip_norm": 1.0},
            "clip_norm is common to all gro",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            opt.add_param_group(added)
        assert len(opt.param_groups) == 1
    opt.step()
    w.data = torch.ones(4)
    w.grad = None
    with pytest.raises(ValueError, match=r"^Adam: exp_avg of parameter 0 has shape \(3,\)"):
        opt.step()


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"weight_decay": -1.0}, {"betas": (2.0, 0.9)}])
def test_numbers_of_a_refused_step_that_are_put_back(wrong: dict[str, Any]) -> None:
    """Those of a group before the wrong one have been taken over by then."""
    params = [[torch.nn.Parameter(torch.ones(3)) for _ in range(2)] for _ in range(2)]
    opts = [ours.Adam([{"params": [p]} for p in each], lr=0.1) for each in params]
    for p in [*params[0], *params[1]]:
        p.grad = torch.linspace(-1, 1, 3)
    for opt in opts:
        opt.step()
    groups = opts[0].param_groups
    before = [dict(group) for group in groups]
    groups[0].update(lr=0.5, weight_decay=0.5, betas=(0.5, 0.5))
    groups[1].update(wrong)
    with pytest.raises(ValueError, match=" must "):
        opts[0].step()
    for group, numbers in zip(groups, before, strict=True):
        group.update(numbers)
    for opt in opts:
        opt.step()
    for one, other in zip(*params, strict=True):
        assert torch.equal(one, other)


def test_loading_is_all_or_nothing() -> None:
    opt = ours.Adam([torch.nn.Parameter(torch.ones(3))])
    opt.param_groups[0]["params"][0].grad = torch.ones(3)
    opt.step()
    before = copy.deepcopy(opt.state_dict())
    for entry in ({"exp_avg": torch.ones(4)}, {"exp_avg": torch.full((3,), float("nan"))}):
        wrong = copy.deepcopy(before)
        wrong["state"][0].update(entry)
        with pytest.raises(ValueError, match=r"exp_avg|state\.m"):
            opt.load_state_dict(wrong)
        assert str(opt.state_dict()) == str(before)
    opt.step()
    assert opt.state_dict()["state"][0]["step"] == 2


def test_states_are_not_shared_with_what_was_loaded() -> None:
    one, other = (ours.Adam([torch.nn.Parameter(torch.ones(3))]) for _ in range(2))
    one.param_groups[0]["params"][0].grad = torch.ones(3)
    one.step()
    other.load_state_dict(one.state_dict())
    one.step()
    assert other.state_dict()["state"][0]["step"] == 1
    assert float(other.state_dict()["state"][0]["exp_avg"][0]) == pytest.approx(0.1)


def test_frozen_parameters_have_no_state() -> None:
    w, frozen = torch.nn.Parameter(torch.ones(3)), torch.ones(10)
    opt = ours.Adam([w, frozen])
    w.grad = torch.ones(3)
    opt.step()
    assert len(opt._own.bound.arrays) == 1
    frozen.requires_grad_(True)
    frozen.grad = torch.ones(10)
    opt.step()
    assert opt.state[frozen]["step"] == 1
    assert opt.state[w]["step"] == 2


def test_tied_weights() -> None:
    embedding = torch.nn.Embedding(5, 4)
    head = torch.nn.Linear(4, 5, bias=False)
    head.weight = embedding.weight
    model = torch.nn.Sequential(embedding, head)
    opt = ours.SGD(model.parameters(), lr=0.1)
    before = embedding.weight.detach().clone()
    model(torch.tensor([1, 2])).sum().backward()
    opt.step()
    torch.testing.assert_close(head.weight.detach(), before - 0.1 * embedding.weight.grad)


def test_models_that_are_converted_before_the_first_step() -> None:
    model = torch.nn.Linear(3, 2)
    opt = ours.Adam(model.parameters(), lr=0.1, ema_decay=0.5)
    model.double()
    model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    opt.step()
    assert opt.state[model.weight]["exp_avg"].dtype == torch.float64


def test_edits_of_the_state_hold() -> None:
    """Also several of them, with a look at it in between, a copy, and other groups."""
    for make in (ours.Adam, torch.optim.Adam):
        p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
        opt = make([p], lr=0.1)
        p.grad = q.grad = torch.ones(3)
        opt.step()
        opt.state[p]["exp_avg"] = torch.full((3,), 5.0)
        opt.state[p]["exp_avg_sq"] = torch.full((3,), 7.0)
        opt.state[p]["step"] = torch.tensor(9.0)
        assert copy.deepcopy(opt).state_dict()["state"][0]["step"] == 9
        opt.add_param_group({"params": [q]})
        opt.step()
        state = opt.state_dict()["state"]
        assert [float(state[key]["step"]) for key in (0, 1)] == [10, 1]
        torch.testing.assert_close(state[0]["exp_avg"], torch.full((3,), 0.9 * 5 + 0.1))
        opt.state.clear()
        assert len(opt.state) == len(opt.state_dict()["state"]) == 0
        opt.step()
        assert [float(state["step"]) for state in opt.state.values()] == [1, 1]
        opt.state["epoch"] = 5
        opt.load_state_dict(opt.state_dict())
        assert opt.state["epoch"] == 5


def test_averages_in_the_state() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    opt = ours.SGD([p], lr=1.0, ema_decay=0.5)
    opt.state[p]["ema"] = torch.full((3,), 9.0)
    p.grad = torch.ones(3)
    opt.step()
    assert (opt.state[p]["ema"] == 4.5).all()
    for wrong in (torch.ones(1), torch.full((3,), float("nan"))):
        state = opt.state_dict()
        state["state"] = {0: {"ema": wrong}}
        with pytest.raises(ValueError, match=r"^SGD: ema of parameter 0"):
            opt.load_state_dict(state)
        assert (opt.state[p]["ema"] == 4.5).all()
    with opt.averaged():
        for refused in (opt.state_dict, lambda: copy.deepcopy(opt), opt.step):
            with pytest.raises(RuntimeError, match="the averages stand in place of the parameters"):
                refused()
    assert (p == 0).all()


def test_what_loading_leaves() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    opt = ours.Adam([p], l1=0.5, nonneg=True, clip_norm=1.0)
    opt.options["clip_norm"] = 0.25
    opt.load_state_dict(torch.optim.Adam([p]).state_dict())
    assert opt.options["clip_norm"] == 0.25
    assert (opt.param_groups[0]["l1"], opt.param_groups[0]["nonneg"]) == (0.5, True)


def test_a_compiled_step() -> None:
    """The step itself is never compiled, but may be called from what is."""
    p = torch.nn.Parameter(torch.ones(3))
    opt = ours.Adam([p], lr=0.1)

    @torch.compile(backend="eager")  # type: ignore[untyped-decorator]
    def train() -> None:
        opt.zero_grad()
        (p**2).sum().backward()
        opt.step()

    for _ in range(5):
        train()
    assert opt.state[p]["step"] == 5


def test_nothing_is_kept_of_an_optimizer_that_is_dropped() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ours.Adam([p])
    opt.step()
    moments = weakref.ref(opt.state[p]["exp_avg"])
    gc.disable()
    try:
        del opt
        assert moments() is None
    finally:
        gc.enable()


def test_messages_name_the_place_of_a_parameter() -> None:
    """Counted among all, also those that take no part."""
    frozen, w = torch.ones(2), torch.nn.Parameter(torch.ones(3))
    opt = ours.Adam([frozen, w])
    w.grad = torch.eye(3).to_sparse()[0]
    with pytest.raises(TypeError, match=r"^Adam.step: grads\[1\] is a Tensor of layout"):
        opt.step()
    w.grad = torch.ones(3)
    opt.step()
    wrong = copy.deepcopy(opt.state_dict())
    wrong["state"][1]["exp_avg"] = torch.ones(4)
    with pytest.raises(ValueError, match=r"^Adam: exp_avg of parameter 1 has shape \(4,\)"):
        opt.load_state_dict(wrong)
    opt.step()
    assert opt.state[w]["step"] == 2


@pytest.mark.parametrize(
    "make", [ours.Adam, lambda p: ours.SGD(p, momentum=0.9), ours.RMSprop, ours.Adagrad, ours.Lion]
)
def test_a_look_at_the_state_changes_nothing(make: Callable[[Any], Any]) -> None:
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = make([p])
    opt.step()
    opt.step()
    bound = opt._own.bound
    assert opt.state[p]
    opt.step()
    assert opt._own.bound is bound


class Wrapper:
    """As Lightning's: derived from the class of the optimizer, without its attributes."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.__class__ = type("Wrapped", (Wrapper, type(optimizer)), {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)

    def step(self) -> Any:
        return self.optimizer.step()


def test_wrappers_show_what_they_wrap() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = ours.Adam([p], lr=0.1, clip_norm=1.0)
    wrapped = Wrapper(opt)
    wrapped.step()
    assert wrapped.result is opt.result
    assert wrapped.state[p]["step"] == 1
    wrapped.state[p]["step"] = torch.tensor(100.0)
    wrapped.step()
    assert opt.state[p]["step"] == wrapped.state_dict()["state"][0]["step"] == 101
    opt.state = opt.state
    wrapped.options["clip_norm"] = 0.5
    assert opt.options["clip_norm"] == 0.5
