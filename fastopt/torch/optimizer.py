"""What the optimizers have in common: how torch's groups and states meet an optimizer of ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, TypedDict

import torch
from torch.autograd import profiler
from torch.autograd.graph import increment_version
from torch.optim import optimizer as torchs

from fastopt.optimizers.options import Options
from fastopt.result import StepResult
from fastopt.torch.bound import Bound


class OptimizerOptions(TypedDict, total=False):
    """What the classes take besides torch's own options."""

    l1: float
    l1_prox: float
    nonneg: bool
    clip_value: float | None
    clip_norm: float | None
    clip_tensor_norm: float | None
    clip_eps: float
    skip_nonfinite: bool | str
    ema_decay: float | None
    flush_denormals: bool
    threads: int | None


TERMS: dict[str, Any] = {"l1": 0.0, "l1_prox": 0.0, "nonneg": False, "clip_value": None}
"""What of this every group has for itself, with defaults."""

UNAVAILABLE = {
    "capturable": "on the CPU nothing is captured",
    "differentiable": "a step is not part of a graph",
}


class Own:
    """What an optimizer has besides torch's own attributes.

    It is one object, in an attribute of the instance. There it is found too by wrappers that derive
    from the class of an optimizer and hand unknown attributes on to it, as Lightning's do.
    """

    def __init__(self) -> None:
        self.states: Any = None
        self.shown = False  # since the latest step, so that they may have been changed
        self.bound: Bound | None = None
        self.options: dict[str, Any] = {}  # common to all groups, for the next that is bound
        self.result: StepResult | None = None

    def shared(self) -> dict[str, Any]:
        """Return the options that all groups have in common."""
        return self.bound.shared() if self.bound else self.options

    def unbind(self) -> None:
        self.options, self.bound = self.shared(), None

    def settle(self, name: str) -> None:
        """Bring `states` up to date; but what was changed there since they were shown holds."""
        if not self.bound:
            return
        self.bound.optimizer._held.plan.check_not_swapped(f"{name}: its state")
        if self.shown and not self.bound.agrees_with(self.states):
            self.unbind()
        else:
            self.bound.write(self.states)


class Optimizer(torch.optim.Optimizer):
    """The base of all, to be combined with the class of torch's where that has one.

    Behind it stands an optimizer of fastopt, whose parameters are the tensors themselves. Each step
    looks whether the numbers in ``param_groups``, the groups, their parameters, or the memory of
    these have changed; and, if `state` was asked for since, whether that has.
    """

    param_groups: list[dict[str, Any]]
    defaults: dict[str, Any]
    _own: Own

    # What a class says of its rule

    _counts: ClassVar[bool] = True
    """Whether torch counts the updates of this rule."""
    _eager: ClassVar[bool] = False
    """Whether torch has states for parameters that were never updated."""
    _deciding: ClassVar[tuple[str, ...]]
    """The entries of a group, besides `lr`, that a step depends on."""
    _terms: ClassVar[dict[str, Any]] = TERMS
    _starts: ClassVar[dict[str, float]] = {}
    """What of the arrays of a state is a number, by torch's name, and where it begins."""

    @classmethod
    def _variant(cls, groups: list[dict[str, Any]]) -> Any:
        """Return what decides which rule it is, and which arrays its states have."""

    @classmethod
    def _arrays_of(cls, variant: Any) -> dict[str, str]:
        """Return the names that the arrays of a state have here, and those in torch."""
        raise NotImplementedError

    @classmethod
    def _name_of(cls, ours: str, theirs: str, p: torch.Tensor) -> str | None:
        """Return torch's name of an array of a parameter's state; None if it has none."""
        return theirs

    @classmethod
    def _shape_of(cls, ours: str, p: torch.Tensor) -> tuple[int, ...] | None:
        """Return the shape of an array of a parameter's state; None if it is like that."""

    @classmethod
    def _check_state(cls, where: str, p: torch.Tensor, state: dict[str, Any]) -> None:
        """Raise where a state is one of a parameter of another kind."""

    @classmethod
    def _has_state(cls, group: dict[str, Any]) -> bool:
        """Tell whether the parameters of a group have states in torch."""
        return True

    @classmethod
    def _start(cls, group: dict[str, Any], ours: str) -> float:
        """Return what an array of new states is filled with."""
        return 0.0

    @classmethod
    def _steps_of(cls, state: dict[str, Any]) -> int:
        """Return how many updates a state of torch's has seen."""
        return int(state.get("step", 0))

    @classmethod
    def _numbers(cls, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        """Return the options of ours that a group stands for."""
        raise NotImplementedError

    @classmethod
    def _make(cls, variant: Any, groups: Any, shared: Any, steps: Any, arrays: Any) -> Any:
        """Return the optimizer of ours, with a state of these counts and arrays."""
        raise NotImplementedError

    @classmethod
    def _check_available(cls, place: str, group: dict[str, Any]) -> None:
        for key, why in UNAVAILABLE.items():
            if group.get(key):
                raise ValueError(f"{cls.__name__}: {place}{key}=True is not available: {why}")

    @classmethod
    def _options_of(cls, number: int, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        """Return `_numbers`; raise where a group has what is refused, or common to all groups."""
        cls._check_available(f"param_groups[{number}]: ", group)
        for key in OptimizerOptions.__annotations__:
            if key in group and key not in cls._terms:
                place = f"{cls.__name__}: param_groups[{number}]"
                raise ValueError(f"{place}: {key} is common to all groups: opt.options[{key!r}]")
        return cls._numbers(group, variant)

    @classmethod
    def _instead_of(cls, name: str) -> str:
        """Return what to use in place of an option that there is not, after a semicolon."""
        return ""

    def _begin(self, init: Callable[..., None], given: dict[str, Any], **torchs_own: Any) -> None:
        """Call torch's constructor, and take over what that does not know."""
        name = type(self).__name__
        for key in given:
            if key not in OptimizerOptions.__annotations__ and key not in self._terms:
                raise TypeError(f"{name}: there is no option {key!r}{self._instead_of(key)}")
        self._check_available("", torchs_own)
        ignored = {key: torchs_own.pop(key) for key in ("foreach", "fused") if key in torchs_own}
        self._own = Own()
        self._own.options = {key: value for key, value in given.items() if key not in self._terms}
        init(self, **torchs_own)
        terms = {key: given.get(key, default) for key, default in self._terms.items()}
        self.defaults.update(ignored | terms)
        for group in self.param_groups:
            for key, value in terms.items():
                group.setdefault(key, value)
            group.update({key: value for key, value in ignored.items() if group[key] is None})
        self._bind()

    # States, in torch's form

    @property
    def state(self) -> Any:
        """The states as torch has them: a dict for each parameter that has been updated.

        Its tensors are those that steps change. What is put in their place counts from the next
        step on.
        """
        self._own.settle(type(self).__name__)
        self._own.shown = True
        return self._own.states

    @state.setter
    def state(self, states: Any) -> None:
        self._own.unbind()
        self._own.states, self._own.shown = states, False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_shared": self._own.shared()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        kept = dict(state)
        if not hasattr(self, "_own"):
            self._own = Own()
        self.state = kept.pop("state", defaultdict(dict))
        self._own.options = kept.pop("_shared", self._own.options)
        super().__setstate__(kept)
        for group in self.param_groups:
            for key, value in self._terms.items():
                group.setdefault(key, self.defaults.get(key, value))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: all of it or, if it is refused, nothing."""
        super().add_param_group(param_group)
        if self._own.bound:
            try:
                self._bind()
            except BaseException:
                self.param_groups.pop()
                raise

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict()`` of this class or of torch's returned; all or nothing.

        Tensors are copied, where torch goes on with those that it is given.
        """
        before = self.state, self.param_groups
        try:
            super().load_state_dict(state_dict)
            self._keep_numbers(state_dict)
            for state in self._own.states.values():
                for key, value in state.items() if isinstance(state, dict) else ():
                    if isinstance(value, torch.Tensor):
                        state[key] = value.clone(memory_format=torch.preserve_format)
            try:
                self._bind()
            except KeyError as missing:
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: param_groups have no {missing}: "
                    "the state is that of another optimizer"
                ) from None
        except BaseException:
            self.state, self.param_groups = before
            raise

    def _keep_numbers(self, state_dict: dict[str, Any]) -> None:
        """Take numbers of states as they were given: torch casts them as it casts arrays."""
        given, states = state_dict["state"], self._own.states
        keys = [key for group in state_dict["param_groups"] for key in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        for key, p in zip(keys, params, strict=True):
            for name in self._starts.keys() & given.get(key, {}).keys():
                states[p][name] = given[key][name]

    def _bind(self) -> Bound:
        """Make an optimizer of ours anew, of all that there is."""
        own = self._own
        own.settle(type(self).__name__)
        bound = own.bound = Bound(self, own.states, own.shared())
        own.shown = False
        return bound

    # Steps

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters in place.

        Parameters
        ----------
        closure : callable, or None
            Evaluates the model again and returns the loss.

        Returns
        -------
        object
            What the closure returned, else None.

        Raises
        ------
        TypeError, ValueError
            If a number in a group is out of range, or a parameter or gradient could not be used:
            sparse, complex, half, on another device. Nothing has been changed then.
        """
        if torch.compiler.is_dynamo_compiling():
            return _step_uncompiled(self, closure)
        if (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or torchs._global_optimizer_pre_hooks
            or torchs._global_optimizer_post_hooks
            or profiler._is_profiler_enabled
        ):
            return _step_with_hooks(self, *(() if closure is None else (closure,)))
        return self._step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # else torch wraps it, at the cost of a step

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        result = self._bound_now().step()
        if result is NotImplemented:  # parameters were given other memory
            result = self._bind().step()
        self._own.result = result
        return loss

    def _bound_now(self) -> Bound:
        """Return the optimizer of ours, brought up to date with groups and states."""
        own = self._own
        bound = own.bound
        if (
            bound is None
            or not bound.is_of(self.param_groups)
            or (own.shown and not bound.agrees_with(own.states))
            or not bound.take_numbers(self.param_groups)
        ):
            bound = self._bind()
        own.shown = False
        return bound

    @property
    def result(self) -> StepResult | None:
        """What the latest step found out about the gradients.

        With `clip_norm`, `clip_tensor_norm` or `skip_nonfinite`, else None.
        """
        return self._own.result

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients or, with ``set_to_none=False``, set them to zero in place."""
        if not set_to_none or profiler._is_profiler_enabled:
            super().zero_grad(set_to_none)
            return
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def averaged(self) -> AbstractContextManager[None]:
        """Put the averages of `ema_decay` in place of the parameters, within a ``with`` block."""
        return self._swapped("averaged")

    @contextmanager
    def _swapped(self, block: str) -> Iterator[None]:
        """Let parameters be what they are within this block of our optimizer."""
        bound = self._bound_now()
        try:
            with getattr(bound.optimizer, block)():
                increment_version(bound.params)
                yield
        finally:
            increment_version(bound.params)

    @property
    def options(self) -> Options:
        """What all groups have in common: ``opt.options["clip_norm"] = 1.0``."""
        options: Options = (self._own.bound or self._bind()).optimizer.options
        return options


_disable: Any = torch.compiler.disable  # which has no types
_step_uncompiled = _disable(Optimizer.step)
_step_with_hooks = torch.optim.Optimizer.profile_hook_step(Optimizer._step)
