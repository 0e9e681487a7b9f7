"""What an optimizer holds: arrays in groups, their states and averages, options, and the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastopt import _core
from fastopt.optimizers.averages import Averages
from fastopt.optimizers.entries import Grouping
from fastopt.optimizers.options import Group, Options
from fastopt.tree import Tree, names, zeros_like, zip_trees


class Held:
    """All of it, in step with each other. The core reads it, and makes the steps."""

    def __init__(
        self,
        owner: str,
        rule: str,
        new_state: Callable[[tuple[Any, ...]], Any],
        grouping: Grouping,
        defaults: dict[str, Any],
        shared: dict[str, Any],
    ) -> None:
        self.owner, self.rule, self.new_state = owner, rule, new_state
        self.grouping, self.defaults = grouping, defaults
        self.sums: Tree | None = None
        self.count = _core.StepCount()
        self.options = Options(owner, shared, self.count)
        own = grouping.entries(owner)
        _core.check_params(owner, grouping.tree)
        groups = tuple(self._new_group(grouping, i, entries) for i, entries in enumerate(own))
        with_averages = self.options["ema_decay"] is not None
        averages = Averages(grouping.tree) if with_averages else None
        self._take(grouping, groups, averages, [0.0] * len(groups))

    @property
    def params(self) -> Tree:
        return self.grouping.tree

    def averages_of_entries(self) -> tuple[Any, ...] | None:
        return self.averages.arrays if self.averages else None

    def arrays_that_change(self) -> list[Any]:
        """Return the arrays of states, averages and sums."""
        of_groups = [tree for group in self.groups for tree in group.arrays().values()]
        states = [array for tree in of_groups for array in tree or ()]
        return [*states, *(self.averages_of_entries() or ()), *arrays_of(self.sums)]

    # Sums of gradients

    def accumulate(self, grads: Tree) -> None:
        if self.sums is None:
            where = f"{self.owner}.accumulate"
            with self.plan.turn(where):
                self.plan.check_not_swapped(where)
                self.use_sums(zeros_like(where, self.params), 0, [])
        self._accumulate(grads)

    def use_sums(self, sums: Tree, waiting: int, frozen: Sequence[bool]) -> None:
        self.plan.use_sums(sums, waiting, frozen)
        self.sums = sums

    # Groups

    def add_group(self, where: str, group: dict[str, Any]) -> None:
        if not self.grouping.extensible:
            raise ValueError(f"{where}: the optimizer was not made with a list of groups")
        with self.plan.turn(where):
            self.plan.check_not_swapped(where)
            if self.plan.waiting:
                raise ValueError(
                    f"{where}: accumulated gradients are waiting; make their step first"
                )
            number = len(self.groups)
            _core.check_params(where, [*self.params, group["params"]])
            grouping = self.grouping.extended(where, group)
            own = grouping.entries(where)[number]
            groups = (*self.groups, self._new_group(grouping, number, own))
            kept = self.averages_of_entries() or ()
            averages = Averages(grouping.tree, kept) if self.averages else None
            self._take(grouping, groups, averages, [*self.plan.weights, 0.0])

    def _new_group(self, grouping: Grouping, number: int, own: list[tuple[str, Any]]) -> Group:
        place = _place(number, len(grouping.groups))
        values = {**self.defaults, **grouping.groups[number]}
        state = self.new_state(tuple(array for _, array in own))
        return Group(self.owner, place, self.rule, values, self.count, own, state)

    def _take(
        self,
        grouping: Grouping,
        groups: tuple[Group, ...],
        averages: Averages | None,
        weights: list[float],
    ) -> None:
        """Take arrays over, all of them or, if one is refused, none."""
        places = [group.place for group in groups]
        for number, group in enumerate(groups):
            group.place = _place(number, len(groups))
        try:
            found = tuple(names(self.owner, grouping.tree))
            plan = _core.Plan(
                self.rule,
                self.owner,
                grouping.tree,
                grouping.group_of_entry,
                groups,
                self.options,
                [group.state for group in groups],
                averages.arrays if averages else None,
                self.count,
                weights,
            )
        except BaseException:
            for group, place in zip(groups, places, strict=True):
                group.place = place
            raise
        if grouping is not self.grouping:
            self.sums = None  # before others may see the plan, which has none yet
        self.grouping, self.groups, self.averages, self.names = grouping, groups, averages, found
        self.plan, self.step, self._accumulate = plan, plan.step, plan.accumulate

    # Copies

    def __getstate__(self) -> dict[str, Any]:
        self.plan.check_not_swapped(f"a copy of {self.owner}")
        anew = ("count", "options", "groups", "averages", "plan", "step", "_accumulate")
        return {
            "kept": {name: value for name, value in vars(self).items() if name not in anew},
            "step_count": self.count.steps,
            "options": dict(self.options),
            "groups": [(dict(group), group.state) for group in self.groups],
            "averages": self.averages_of_entries(),
            "weights": self.plan.weights,
            "waiting": self.plan.waiting,
            "frozen": self.plan.frozen_in_sums,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["kept"])
        self.count = _core.StepCount()
        self.count.steps = state["step_count"]
        self.options = Options(self.owner, state["options"], self.count)
        own = self.grouping.entries(self.owner)
        groups = tuple(
            Group(
                self.owner, _place(i, len(own)), self.rule, values, self.count, entries, its_state
            )
            for i, (entries, (values, its_state)) in enumerate(
                zip(own, state["groups"], strict=True)
            )
        )
        kept = state["averages"]
        averages = None if kept is None else Averages(self.params, kept)
        self._take(self.grouping, groups, averages, state["weights"])
        if self.sums is not None:
            self.use_sums(self.sums, state["waiting"], state["frozen"])


def _place(number: int, groups: int) -> str:
    return f"groups[{number}]" if groups > 1 else ""


def arrays_of(tree: Tree | None) -> list[Any]:
    return [] if tree is None else [array for (array,) in zip_trees(tree)]
