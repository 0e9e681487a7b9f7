"""An optimizer of ours that stands behind one of torch's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, compress, repeat
from operator import attrgetter, is_, is_not, itemgetter
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.graph import increment_version

from fastopt.optimizers.entries import Grouping
from fastopt.tree import arrays_of

if TYPE_CHECKING:
    from fastopt.result import StepResult
    from fastopt.torch.optimizer import Optimizer

Groups = list[dict[str, Any]]

# What goes over all groups in each step is left to functions in C.
_grad = attrgetter("grad")
_rate, _params = itemgetter("lr"), itemgetter("params")


class Bound:
    """It is made of groups, parameters and states as they are, and holds as long as they stay."""

    def __init__(self, owner: Optimizer, states: Any, shared: dict[str, Any]) -> None:
        groups = owner.param_groups
        self.kind = type(owner)  # the owner itself would be held in a circle
        self.variant = owner._variant(groups)
        self.all = [p for group in groups for p in group["params"]]
        self.lengths = [len(group["params"]) for group in groups]
        # What needs no gradient has no state, as long as it has no gradient.
        taken = {id(p) for p in self.all if p.requires_grad or p.grad is not None}
        taken |= {
            id(p)
            for p, state in states.items()
            if not isinstance(state, dict) or owner._steps_of(state) or "ema" in state
        }
        self.left_out = [p for p in self.all if id(p) not in taken]
        entries = [
            (p, number)
            for number, group in enumerate(groups)
            for p in group["params"]
            if id(p) in taken
        ]
        self.params = [p for p, _ in entries]
        self.places = [place for place, p in enumerate(self.all) if id(p) in taken]
        self.in_use = [owner._has_state(groups[number]) for _, number in entries]
        found = [states.get(p, {}) if use else {} for p, use in self._each(self.in_use)]
        self.names = owner._arrays_of(self.variant)
        for number, state in enumerate(found):
            owner._check_state(self._where(number, "the state"), self.params[number], state)
        starts = [{ours: owner._start(group, ours) for ours in self.names} for group in groups]
        self.starts = [starts[number] for _, number in entries]
        arrays = [
            {ours: self._array(number, state, ours) for ours in self.names}
            for number, state in enumerate(found)
        ]
        self.arrays = [
            {its: each[ours] for ours in self.names if (its := self._name_in_torch(number, ours))}
            for number, each in enumerate(arrays)
        ]
        self.tree = self._named(self.params)
        grouping = Grouping(
            self.tree,
            tuple(
                owner._options_of(number, group, self.variant)
                for number, group in enumerate(groups)
            ),
            tuple(number for _, number in entries),
            by_name={
                str(place): number for place, (_, number) in zip(self.places, entries, strict=True)
            },
        )
        trees = {ours: self._named([each[ours] for each in arrays]) for ours in self.names}
        steps = self._named([owner._steps_of(state) for state in found])
        self.optimizer = owner._make(self.variant, grouping, shared, steps, trees)
        self.groups = list(self.optimizer.groups)
        self.averages = [torch.from_numpy(average) for average in arrays_of(self.optimizer.ema)]
        for number, average in enumerate(self.averages):
            state = states.get(self.params[number], {})
            if "ema" in state:
                average.copy_(self._checked(number, "ema", state["ema"], average.shape))
        self._decide = itemgetter(*owner._deciding, *owner._terms)
        self._rates = list(map(_rate, groups))
        self._noted = list(map(self._decide, groups))
        self._tensors: set[int] = set()  # groups that have some in place of numbers
        for number in range(len(groups)):
            self._note_tensors(number)

    def _options(self, number: int, group: dict[str, Any]) -> dict[str, Any]:
        return self.kind._options_of(number, group, self.variant)

    def _named(self, values: list[Any]) -> list[Any] | dict[int, Any]:
        """Return values, one for each parameter, so that messages name the place of that."""
        return dict(zip(self.places, values, strict=True)) if self.left_out else values

    def _each(self, values: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        return zip(self.params, values, strict=True)

    def _name_in_torch(self, number: int, ours: str) -> str | None:
        return self.kind._name_of(ours, self.names[ours], self.params[number])

    def _array(self, number: int, state: dict[str, Any], ours: str) -> Any:
        p, name = self.params[number], self._name_in_torch(number, ours)
        array = state.get(name) if name else None
        if name in self.kind._starts:
            return self._number(number, name, array)
        shape = self.kind._shape_of(ours, p)
        if array is not None:
            if shape is None:
                return self._checked(number, str(name), array, p.shape)
            return self._checked(number, str(name), array, shape).contiguous()
        start, keep = self.starts[number][ours], torch.preserve_format
        if shape is not None:
            return p.detach().new_full(shape, start)
        return torch.full_like(p, start, memory_format=keep, requires_grad=False)

    def _number(self, number: int, name: str, given: Any) -> Any:
        """Return a number of a state as steps change it, which torch may have in less precision."""
        start = torch.tensor(self.kind._starts[name], dtype=torch.float64)
        if given is None:
            return start
        where = self._where(number, name)
        if not isinstance(given, torch.Tensor) or given.dim() != 0:
            raise TypeError(f"{where} must be a tensor without axes, not {given!r:.60}")
        if not given.isfinite():
            raise ValueError(f"{where} is not finite")
        return given if given.dtype == torch.float64 else start.copy_(given)

    def _where(self, number: int, name: str) -> str:
        return f"{self.kind.__name__}: {name} of parameter {self.places[number]}"

    def _checked(self, number: int, name: str, array: Any, shape: tuple[int, ...]) -> Any:
        p, where = self.params[number], self._where(number, name)
        if not isinstance(array, torch.Tensor):
            raise TypeError(f"{where} must be a tensor, not {type(array).__name__}")
        if (array.shape, array.dtype) != (shape, p.dtype):
            raise ValueError(
                f"{where} has shape {tuple(array.shape)} and dtype {array.dtype}, the parameter "
                f"{tuple(p.shape)} and {p.dtype}"
                + ("" if shape == p.shape else f", which makes it {tuple(shape)}")
            )
        if not array.isfinite().all():
            raise ValueError(f"{where} is not finite")
        return array

    def shared(self) -> dict[str, Any]:
        """Return the options that all groups have in common."""
        return dict(self.optimizer.options)

    # Is it still what it was made of?

    def is_of(self, groups: Groups) -> bool:
        """Tell whether the groups have the parameters that they had, each its own."""
        params = list(map(_params, groups))
        now = list(chain.from_iterable(params))
        return (
            len(now) == len(self.all)
            and all(map(is_, now, self.all))
            and list(map(len, params)) == self.lengths
            and (not self.left_out or all(p.grad is None for p in self.left_out))
        )

    def agrees_with(self, states: Any) -> bool:
        """Tell whether states have what :meth:`write` has put there."""
        for number, (p, (arrays, steps, use)) in enumerate(self._each(self._what_is_written())):
            state = states.get(p, {})
            averaged = self.averages and (steps or not arrays)
            if averaged and state.get("ema") is not self.averages[number]:
                return False
            if not use:
                continue
            counted = steps if self.kind._counts else min(steps, 1)
            if self.kind._steps_of(state) != counted:
                return False
            made = steps or self.kind._eager  # else an array that is not there is no other one
            if any(
                state.get(name, None if made else array) is not array
                for name, array in arrays.items()
            ):
                return False
        return True

    def take_numbers(self, groups: Groups) -> bool:
        """Take over what has changed in groups; False if another optimizer is needed for that."""
        rates = list(map(_rate, groups))
        if not all(map(is_, rates, self._rates)):
            changed = map(is_not, rates, self._rates)
            for number, rate in compress(enumerate(rates), changed):
                self.groups[number]["lr"] = self._rates[number] = rate
                if type(rate) is not float and isinstance(rate, torch.Tensor):
                    self._tensors.add(number)
        decided = list(map(self._decide, groups))
        if self._tensors or decided != self._noted:
            for number, (now, before) in enumerate(zip(decided, self._noted, strict=True)):
                if number in self._tensors or now != before:
                    if self.kind._variant(groups) != self.variant:
                        return False
                    self.groups[number].update(self._options(number, groups[number]))
                    self._noted[number] = now
                    self._note_tensors(number)
        return True

    def _note_tensors(self, number: int) -> None:
        """Note whether a group has tensors, which may change without being replaced."""
        noted = (self._rates[number], *self._noted[number])
        parts = [*noted, *(part for value in noted if isinstance(value, tuple) for part in value)]
        if any(isinstance(part, torch.Tensor) for part in parts):
            self._tensors.add(number)
        else:
            self._tensors.discard(number)

    # Steps

    def step(self) -> StepResult | Any | None:
        """Make a step, if parameters have the memory that they had; else it is NotImplemented."""
        grads = list(map(_grad, self.params))
        named = self._named(grads) if self.left_out else grads
        result = self.optimizer._held.step(named, 1.0, None, 1.0, None, {}, self.tree)
        if result is NotImplemented:
            return result
        if result is None or not result.skipped:
            increment_version(list(compress(self.params, map(is_not, grads, repeat(None)))))
        return result

    def _what_is_written(self) -> Iterator[tuple[dict[str, Any], int, bool]]:
        steps = [step for group in self.groups for step in group._steps()]
        return zip(self.arrays, steps, self.in_use, strict=True)

    def write(self, states: Any) -> None:
        """Put the states of all parameters that were updated into a dict of torch's form."""
        for number, (p, (arrays, steps, use)) in enumerate(self._each(self._what_is_written())):
            if use and (steps > 0 or self.kind._eager):
                state = states[p]
                state.update(arrays)
                if self.kind._counts and isinstance(state.get("step"), torch.Tensor):
                    state["step"].fill_(steps)
                elif self.kind._counts:
                    state["step"] = torch.tensor(float(steps))
            if self.averages and (steps > 0 or not arrays):
                states[p]["ema"] = self.averages[number]
