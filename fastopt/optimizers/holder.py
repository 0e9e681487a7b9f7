"""What an optimizer holds: arrays in groups, options, and what its steps need of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from fastopt import _core
from fastopt.optimizers.accumulation import Accumulation
from fastopt.optimizers.averages import Averages
from fastopt.optimizers.counted import Counted
from fastopt.optimizers.entries import Grouping, grouping_of, is_group
from fastopt.optimizers.options import (
    SHARED,
    SHARED_DEFAULTS,
    TERM_DEFAULTS,
    Group,
    Options,
    check_names,
    row_of,
    value_at,
)
from fastopt.result import StepResult
from fastopt.tree import Tree, names

Step = Callable[[Tree], StepResult | None]


class Holder(Counted):
    """The part of an optimizer that makes no steps."""

    rule: ClassVar[str]
    """The name of the rule: ``"adam"`` for ``adam_step``."""
    rule_options: ClassVar[tuple[str, ...]]
    """The options of the rule, in the order in which the core takes them."""

    def __init__(self, params: Any, rule_options: dict[str, Any], options: dict[str, Any]) -> None:
        name = type(self).__name__
        known = {**rule_options, **TERM_DEFAULTS, **SHARED_DEFAULTS}
        check_names(f"{name}: ", options, known)
        super().__init__()
        self.made = False
        self._grouping = grouping_of(name, params)
        self._defaults = {
            "frozen": False,
            **rule_options,
            **{k: options.get(k, v) for k, v in TERM_DEFAULTS.items()},
        }
        self.options = Options(self, {k: options.get(k, v) for k, v in SHARED_DEFAULTS.items()}, "")
        own = self._grouping.entries(name)
        _core.check_params(name, self.params)
        self.names = tuple(names(name, self.params))
        self.groups = tuple(self._new_group(self._grouping, i, own[i]) for i in range(len(own)))
        self._averages = None
        if self.options["ema_decay"] is not None:
            self._averages = Averages(self.params, len(self.groups))
        self._accumulation: Accumulation | None = None
        self._plan = self._new_plan(self._grouping, self.groups, self._averages)
        self.made = True
        self.options_changed()

    @property
    def params(self) -> Tree:
        return self._grouping.tree

    @property
    def ema(self) -> Tree | None:
        """The averages, in the structure of `params`; None without `ema_decay`."""
        return self._averages.tree if self._averages else None

    def new_state(self, params: tuple[Any, ...]) -> Any:
        """Return the state of the rule for some arrays, or None where it has none."""
        return None

    def add_group(self, group: dict[str, Any]) -> None:
        """Add a group to an optimizer that was made with a list of groups.

        Parameters
        ----------
        group : dict
            ``{"params": tree, ...}``, with the options that differ from those of the optimizer.
            Its state begins at step 0. Gradients are a list with one more tree from now on.

        Raises
        ------
        TypeError, ValueError
            If it is no group, an option is unknown or out of range, an array cannot be updated or
            belongs to another group; if the optimizer was not made with a list of groups, or
            accumulated gradients are waiting. Nothing has been changed then.
        RuntimeError
            Within :meth:`averaged`.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> opt = fastopt.SGD([{"params": np.ones(2)}], lr=0.5)
        >>> opt.add_group({"params": np.ones(3), "lr": 0.1})
        >>> [group["lr"] for group in opt.groups]
        [0.5, 0.1]
        """
        where = f"{type(self).__name__}.add_group"
        if not is_group(group):
            raise TypeError(f"{where}: group must be a dict with 'params', not {group!r:.100}")
        if not self._grouping.extensible:
            raise ValueError(f"{where}: the optimizer was not made with a list of groups")
        self._check_not_swapped(where)
        if self._waiting:
            raise ValueError(f"{where}: accumulated gradients are waiting; make their step first")
        with _core.turn(where, self._plan):
            self._append_group(where, group)

    def _append_group(self, where: str, group: dict[str, Any]) -> None:
        added = {key: value for key, value in group.items() if key != "params"}
        number, branch = len(self.groups), group["params"]
        _core.check_params(where, [*self.params, branch])
        grouping = Grouping(
            [*self.params, branch],
            (*self._grouping.groups, added),
            (*self._grouping.group_of_entry, *(number for _ in names(where, branch))),
            extensible=True,
        )
        own = grouping.entries(where)[number]
        groups = (*self.groups, self._new_group(grouping, number, own))
        averages = self._averages and Averages(grouping.tree, number + 1, self._averages)
        plan = self._new_plan(grouping, groups, averages)
        self._grouping, self.groups, self._averages, self._plan = grouping, groups, averages, plan
        for i, each in enumerate(groups):
            each.place = f"groups[{i}]: "
        self.names = tuple(names(where, self.params))
        self._accumulation = None
        self.options_changed()

    def _new_group(self, grouping: Grouping, number: int, own: list[tuple[str, Any]]) -> Group:
        place = f"groups[{number}]: " if len(grouping.groups) > 1 else ""
        given = grouping.groups[number]
        check_names(f"{type(self).__name__}: {place}", given, self._defaults)
        return Group(
            self,
            {**self._defaults, **given},
            place,
            tuple(name for name, _ in own),
            tuple(array for _, array in own),
        )

    def _new_plan(
        self, grouping: Grouping, groups: tuple[Group, ...], averages: Averages | None
    ) -> Any:
        make = getattr(_core, f"{self.rule}_plan")
        function, of_entry = f"{type(self).__name__}.step", list(grouping.group_of_entry)
        states = [group.state for group in groups]
        ema = averages.arrays if averages else None
        return make(function, grouping.tree, of_entry, states, ema, self._count)

    def check_group(self, where: str, values: dict[str, Any]) -> None:
        if not isinstance(values["frozen"], bool):
            raise TypeError(f"{where}frozen must be True or False, not {values['frozen']!r}")
        at = {name: value_at(value, self.step_count) for name, value in values.items()}
        check = getattr(_core, f"{self.rule}_check")
        check(where.rstrip(": "), *row_of(at, self.rule_options))

    def options_changed(self) -> None:
        """Prepare the steps that follow, once for all, unless they depend on more than options."""
        depends = (
            self._is_swapped
            or self._waiting
            or self.options["ema_debias"]
            or any(options.scheduled for options in (self.options, *self.groups))
        )
        self._prepared = None if depends else self._prepare(*self._now())

    def _prepare(self, rows: tuple[Any, ...], shared: dict[str, Any], cleared: Any = None) -> Step:
        """Return what makes steps, and sets the count `cleared` to 0 when one is made."""
        step: Step = getattr(_core, f"{self.rule}_prepare")(self._plan, rows, shared, cleared)
        return step

    def _now(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        step = self.step_count
        values = self.options.at(step)
        rows = tuple(group.row(self.rule_options, step) for group in self.groups)
        return rows, {name: values[name] for name in SHARED}

    @property
    def _waiting(self) -> int:
        """How many accumulated gradients wait for their step."""
        return self._accumulation.step_count if self._accumulation else 0

    @property
    def _is_swapped(self) -> bool:
        return self._averages is not None and self._averages.swapped

    def _check_not_swapped(self, where: str) -> None:
        if self._is_swapped:
            raise RuntimeError(f"{where}: the averages stand in place of the parameters")

    def __setattr__(self, name: str, value: Any) -> None:
        for place, options in (("groups[...]", "_defaults"), ("options", "options")):
            if name in vars(self).get(options, ()):
                raise AttributeError(
                    f"{type(self).__name__}: {name} is an option, and set by "
                    f"opt.{place}[{name!r}] = ..."
                )
        super().__setattr__(name, value)

    def __copy__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}: a shallow copy would share its arrays; copy.deepcopy makes "
            "one that stands by itself"
        )

    def __getstate__(self) -> dict[str, Any]:
        self._check_not_swapped(f"a copy of {type(self).__name__}")
        return {k: v for k, v in vars(self).items() if k not in ("_plan", "_prepared")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for options in (self.options, *self.groups):
            options.belong_to(self)
        self._plan = self._new_plan(self._grouping, self.groups, self._averages)
        self.options_changed()

    def __repr__(self) -> str:
        count = sum(array.size for group in self.groups for array in group.params)
        head = f"{count:,} parameters in {len(self.names)} arrays, step_count={self.step_count}"
        lines = [f"{type(self).__name__}({head}"]
        if shared := self.options.shown(SHARED_DEFAULTS):
            lines.append(f"  {shared}")
        defaults = {"frozen": False, **TERM_DEFAULTS}
        for i, group in enumerate(self.groups):
            shown = group.shown(defaults)
            lines.append(f"  groups[{i}]: {len(group.names)} arrays, {shown}")
        return "\n".join(lines) + ")"
