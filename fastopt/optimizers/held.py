"""What an optimizer holds: arrays in groups, their states and averages, options, and the plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from fastopt import _core
from fastopt.optimizers.adopting import adopted
from fastopt.optimizers.averages import Averages
from fastopt.optimizers.entries import Grouping, matching
from fastopt.optimizers.exchange import Undo, exchange
from fastopt.optimizers.group import Group, Groups, one_or_all
from fastopt.optimizers.options import Options
from fastopt.result import StepResult
from fastopt.tree import LikeParams, arrays_of, as_array, names, zeros_like


class Held:
    """All of it, in step with each other. The core reads it, and makes the steps."""

    grouping: Grouping
    groups: Groups
    names: tuple[str, ...]
    averages: Averages | None
    plan: _core.Plan

    def __init__(
        self,
        owner: str,
        rule: str,
        new_state: Callable[..., Any],
        grouping: Grouping,
        defaults: dict[str, Any],
        shared: dict[str, Any],
        state: Any,
        never_negative: Collection[str],
    ) -> None:
        self.owner, self.rule, self.new_state = owner, rule, new_state
        self.defaults = defaults
        self.sums: LikeParams = None
        self.count = _core.StepCount()
        self.options = Options(owner, shared, self.count)
        own = grouping.entries(owner)
        _core.check_params(owner, grouping.tree)
        states = (
            [self.state_for(grouping, number, entries) for number, entries in enumerate(own)]
            if state is None
            else adopted(owner, grouping, own, new_state, state, never_negative)
        )
        groups = [
            self._new_group(grouping, number, entries, its_state)
            for number, (entries, its_state) in enumerate(zip(own, states, strict=True))
        ]
        self._take(grouping, groups, {} if self.options["ema_decay"] is not None else None, {})
        self.count.steps = max((step for group in groups for step in group._steps()), default=0)

    @property
    def params(self) -> LikeParams:
        return self.plan.params

    def averages_of_entries(self) -> tuple[Any, ...] | None:
        return self.averages.arrays if self.averages else None

    def arrays_that_change(self) -> list[Any]:
        """Return the arrays of states, averages and sums."""
        of_groups = [tree for group in self.groups for tree in group._arrays().values()]
        states = [array for tree in of_groups for array in tree or ()]
        return [*states, *(self.averages_of_entries() or ()), *arrays_of(self.sums)]

    def ema_weights(self) -> dict[str, float]:
        """Return how much of each average is free of its start."""
        return dict(zip(self.names, self.plan.ema_weights, strict=True))

    def check_averages(self, where: str) -> Averages:
        if self.averages is None:
            raise ValueError(f"{where}: there are no averages without ema_decay")
        self.averages.check(where, self.names, self.params)
        return self.averages

    def reset_averages(self, where: str) -> None:
        self.check_averages(where).reset()
        self.plan.ema_weights = [0.0] * len(self.names)

    def check_arrays(self, where: str, replaced: bool = False) -> None:
        """Raise unless `params` has the arrays that were taken over, in their order.

        Some may have been `replaced` by others like them.
        """
        now = arrays_of(self.params)
        if len(now) != len(self.names):
            raise ValueError(
                f"{where}: params has {len(now)} arrays, it had {len(self.names)} when the "
                "optimizer was made"
            )
        known = {id(own) for own in self.arrays}
        found = names(where, self.params)
        for name, its_name, array, own in zip(self.names, found, now, self.arrays, strict=True):
            if name == its_name and array is own:
                continue
            like, same = (as_array(where, name, each) for each in (array, own))
            fits = (its_name, like.shape, like.dtype) == (name, same.shape, same.dtype)
            if not (replaced and fits and id(array) not in known):
                raise ValueError(
                    f"{where}: {name} is another array than when the optimizer was made, or "
                    "stands in another place; step(params=...) takes params as they are"
                )

    # Sums of gradients

    def accumulate(
        self, grads: Any, weight: float, skip_nonfinite: bool | str
    ) -> StepResult | None:
        if self.sums is None:
            where = f"{self.owner}.accumulate"
            with self.plan.turn(where):
                self.plan.check_not_swapped(where)
                self.check_arrays(where)
                if self.sums is None:  # still: nobody has added anything meanwhile
                    self.use_sums(zeros_like(where, self.params), 0, 0.0, 0, (), ())
        return self._accumulate(grads, weight, skip_nonfinite)

    def use_sums(
        self,
        sums: LikeParams,
        count: int,
        weight: float,
        skipped: int,
        has: Sequence[int],
        frozen: Sequence[int],
    ) -> None:
        self.plan.use_sums(sums, count, weight, skipped, has, frozen)
        self.sums = sums

    # Entries that are frozen, besides frozen groups

    def frozen(self) -> list[str]:
        frozen = self.plan.frozen or [0] * len(self.names)
        return [name for name, flag in zip(self.names, frozen, strict=True) if flag]

    def set_frozen(self, frozen: Iterable[str]) -> None:
        chosen = set(frozen)
        self.plan.frozen = [int(name in chosen) for name in self.names]

    def change_frozen(self, where: str, pattern: str, frozen: bool) -> None:
        """Freeze the entries that match a pattern, or let them go."""
        if not isinstance(pattern, str):
            raise TypeError(f"{where}: pattern must be a str, not {type(pattern).__name__}")
        chosen = set(matching(self.names, pattern))
        if not chosen:
            raise ValueError(
                f"{where}: {pattern!r} matches none of the names {', '.join(self.names)}"
            )
        with self.plan.turn(where):
            if frozen:
                self.set_frozen({*self.frozen(), *chosen})
                return
            thawing = [g for g in self.groups if g["frozen"] and chosen & set(g.names)]
            others = {name for group in thawing for name in group.names}
            self.set_frozen({*self.frozen(), *others} - chosen)
            for group in thawing:
                group["frozen"] = False

    # Other arrays, and more of them

    def add_group(self, where: str, group: dict[str, Any]) -> None:
        if not self.grouping.extensible:
            raise ValueError(f"{where}: the optimizer was not made with a list of groups")
        with self.plan.turn(where):
            self.plan.check_not_swapped(where)
            if self.plan.waiting:
                raise ValueError(
                    f"{where}: accumulated gradients are waiting; make their step first"
                )
            self.check_arrays(where)
            _core.check_params(where, [*self.params, group["params"]])
            grouping = self.grouping.of_tree(where, self.params).extended(where, group)
            own = grouping.entries(where)
            groups = list(self.groups)
            for number in range(len(groups), len(own)):
                state = self.state_for(grouping, number, own[number])
                groups.append(self._new_group(grouping, number, own[number], state))
            self._take(grouping, groups, self.kept_averages(), self.ema_weights(), self.frozen())

    def step_with(self, where: str, params: Any, *of_step: Any) -> Any:
        """Make a step with these parameters from now on; if it is refused, with those of before."""
        with self.plan.turn(where) as turn:
            undo, made = Undo(self), self.count.steps
            try:
                exchange(self, where, params)
                return turn.step(self.plan, (*of_step, None))
            except BaseException:
                if self.count.steps == made:  # an interrupt may come when it is made
                    undo()
                raise

    def set_params(self, where: str, params: Any) -> None:
        """Let these be the parameters from now on."""
        with self.plan.turn(where):
            undo = Undo(self)
            try:
                exchange(self, where, params)
            except BaseException:
                undo()
                raise

    def state_for(self, grouping: Grouping, number: int, entries: Iterable[tuple[str, Any]]) -> Any:
        """Make the state of a group, or of what joins it."""
        arrays = one_or_all(array for _, array in entries)
        return self.new_state(arrays, **grouping.of_state(number))

    def _new_group(
        self, grouping: Grouping, number: int, own: list[tuple[str, Any]], state: Any
    ) -> Group:
        values = {**self.defaults, **grouping.groups[number]}
        return self._group(grouping, number, values, own, state)

    def _group(
        self,
        grouping: Grouping,
        number: int,
        values: dict[str, Any],
        own: list[tuple[str, Any]],
        state: Any,
    ) -> Group:
        patterns = grouping.matches[number] if grouping.matches else ()
        numbered = (number, len(grouping.groups))
        return Group(self.owner, numbered, self.rule, values, self.count, own, state, patterns)

    def _take(
        self,
        grouping: Grouping,
        groups: Sequence[Group],
        kept_averages: dict[str, Any] | None,
        ema_weights: dict[str, float],
        frozen: Iterable[str] = (),
    ) -> None:
        """Take arrays over, all of them or, if one is refused, none.

        Of averages some may be kept, by their names; None stands for no averages at all.
        """
        before = [(group, group._numbered()) for group in groups]
        found = tuple(names(self.owner, grouping.tree))
        try:
            for number, group in enumerate(groups):
                group._number(number, len(groups))
            averages = None
            if kept_averages is not None:
                averages = Averages(grouping.tree, found, kept_averages)
            plan = _core.Plan(
                self.rule,
                self.owner,
                grouping.tree,
                grouping.group_of_entry,
                groups,
                self.options,
                [group.state for group in groups],
                averages.arrays if averages else None,
                averages.tree if averages else None,
                self.count,
                [ema_weights.get(name, 0.0) for name in found],
            )
            plan.frozen = [int(name in frozen) for name in found]
        except BaseException:
            for group, numbered in before:
                group._number(*numbered)
            raise
        if getattr(self, "grouping", None) is not grouping:
            self.sums = None  # before others may see the plan, which has none yet
        self.grouping, self.groups, self.averages = grouping, Groups(groups), averages
        self.names, self.arrays, self.plan, self.step, self._accumulate = (
            found,
            tuple(arrays_of(grouping.tree)),
            plan,
            plan.step,
            plan.accumulate,
        )

    def kept_averages(self) -> dict[str, Any] | None:
        arrays = self.averages_of_entries()
        return None if arrays is None else dict(zip(self.names, arrays, strict=True))

    # Copies

    def __getstate__(self) -> dict[str, Any]:
        self.plan.check_not_swapped(f"a copy of {self.owner}")
        self.check_arrays(f"a copy of {self.owner}", replaced=True)
        self.grouping = self.grouping.of_tree(self.owner, self.params)
        kept = ("owner", "rule", "new_state", "grouping", "defaults", "sums")
        return {
            "kept": {name: getattr(self, name) for name in kept},
            "step_count": self.count.steps,
            "options": dict(self.options),
            "groups": [(dict(group), group.state) for group in self.groups],
            "averages": self.kept_averages(),
            "ema_weights": self.ema_weights(),
            "frozen": self.frozen(),
            "added": self.plan.added,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["kept"])
        self.count = _core.StepCount()
        self.count.steps = state["step_count"]
        self.options = Options(self.owner, state["options"], self.count)
        own = zip(self.grouping.entries(self.owner), state["groups"], strict=True)
        groups = [
            self._group(self.grouping, number, values, entries, its_state)
            for number, (entries, (values, its_state)) in enumerate(own)
        ]
        sums = self.sums
        self._take(self.grouping, groups, state["averages"], state["ema_weights"], state["frozen"])
        if sums is not None:
            self.use_sums(sums, *state["added"])
