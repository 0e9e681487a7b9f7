"""What all optimizers have in common: they hold arrays, and make the step of their rule on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from fastopt import _core
from fastopt.optimizers import saved
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


class Optimizer(Counted):
    """The base of SGD, Momentum, Adam, AdamW and RMSprop, which says what they can do.

    Attributes
    ----------
    params
        The parameters, as they were given: a tree, or a list of the trees of all groups.
    groups : tuple of Group
        The options of every group: ``opt.groups[0]["lr"] = 1e-4``. They are checked when they are
        set.
    options : Options
        The options that all groups have in common: ``opt.options["clip_norm"] = 1.0``.
    names : tuple of str
        The dotted names of all arrays.
    step_count : int
        The updates made so far. It is what schedules see, so the first update sees 0.
    """

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
        self.names = tuple(names(self.params))
        self.groups = tuple(self._new_group(self._grouping, i, own[i]) for i in range(len(own)))
        self._averages = None
        if self.options["ema_decay"] is not None:
            self._averages = Averages(self.params, len(self.groups))
        self._accumulation: Accumulation | None = None
        self._plan = self._new_plan(self._grouping, self.groups, self._averages)
        self.made = True
        self.options_changed()

    # What it holds

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
            belongs to another group. Nothing has been changed then.
        """
        where = f"{type(self).__name__}.add_group"
        if not is_group(group):
            raise TypeError(f"{where}: group must be a dict with 'params', not {group!r:.100}")
        if not self._grouping.extensible:
            raise ValueError(f"{where}: the optimizer was not made with a list of groups")
        self._check_not_swapped(where)
        if self._accumulation and self._accumulation.step_count:
            raise ValueError(f"{where}: accumulated gradients are waiting; make their step first")
        added = {key: value for key, value in group.items() if key != "params"}
        number, branch = len(self.groups), group["params"]
        _core.check_params(where, [*self.params, branch])
        grouping = Grouping(
            [*self.params, branch],
            (*self._grouping.groups, added),
            (*self._grouping.group_of_entry, *(number for _ in names(branch))),
            extensible=True,
        )
        own = grouping.entries(where)[number]
        groups = (*self.groups, self._new_group(grouping, number, own))
        averages = self._averages and Averages(grouping.tree, number + 1, self._averages)
        plan = self._new_plan(grouping, groups, averages)
        self._grouping, self.groups, self._averages, self._plan = grouping, groups, averages, plan
        self.names = tuple(names(self.params))
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

    # Options

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
            or self._accumulation
            or self.options["ema_debias"]
            or any(options.scheduled for options in (self.options, *self.groups))
        )
        self._prepared = None if depends else self._prepare(*self._now())

    def _prepare(self, rows: tuple[Any, ...], shared: dict[str, Any]) -> Step:
        step: Step = getattr(_core, f"{self.rule}_prepare")(self._plan, rows, shared)
        return step

    def _now(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        step = self.step_count
        values = self.options.at(step)
        rows = tuple(group.row(self.rule_options, step) for group in self.groups)
        return rows, {name: values[name] for name in SHARED}

    # Steps

    def step(
        self,
        grads: Tree | None = None,
        *,
        grad_scale: float = 1.0,
        mask: Tree | None = None,
        keep_prob: float = 1.0,
        update_mask: Tree | None = None,
    ) -> StepResult | None:
        """Update the parameters in place.

        Parameters
        ----------
        grads : like `params`, or None
            The gradients: for a list of groups a list with a tree for each. Where a group is frozen
            they may be None. Without gradients the step is made with those that were accumulated.
        grad_scale, mask, keep_prob, update_mask
            For this step alone, as in :func:`fastopt.sgd_step`.

        Returns
        -------
        StepResult or None
            None, or with `clip_norm`, `clip_tensor_norm` or `skip_nonfinite` what was found out.

        Raises
        ------
        TypeError, ValueError
            As the functional step; and if an array of the parameters has been replaced, resized or
            made read-only since the optimizer was made. Nothing has been changed then.
        RuntimeError
            Within :meth:`averaged`.
        """
        prepared = self._prepared
        plain = mask is None and update_mask is None and grad_scale == 1.0 and keep_prob == 1.0
        if plain and prepared is not None and grads is not None:
            return prepared(grads)
        given = {"grad_scale": grad_scale, "mask": mask, "update_mask": update_mask}
        given["keep_prob"] = keep_prob
        return self._step_now(grads, given) if grads is not None else self._step_of_sum(given)

    def _step_now(
        self, grads: Tree | None, given: dict[str, Any], accumulated: Accumulation | None = None
    ) -> StepResult | None:
        where, before = f"{type(self).__name__}.step", self.step_count
        rows, shared = self._now()  # schedules may do anything: checks come after them
        if self.step_count != before:
            raise RuntimeError(f"{where}: a schedule has made a step")
        self._check_not_swapped(where)
        waiting = self._accumulation.step_count if self._accumulation else 0
        if waiting and not accumulated:
            raise ValueError(
                f"{where}: {waiting} accumulated gradients are waiting; step() without gradients "
                "takes them, discard_accumulated() forgets them"
            )
        if accumulated:
            accumulated.check_frozen(where, self._frozen())
            grads, given["zero_grads"] = accumulated.sums, True
            if self.options["accumulation"] == "mean" and waiting:
                given["grad_scale"] = given["grad_scale"] / waiting
        averages, weights = self._averages, {}
        if averages and self.options["ema_debias"]:
            for number, row in enumerate(rows):
                if row is not None:
                    decay, weights[number] = averages.debiased(number, shared["ema_decay"])
                    row[-1]["ema_decay"] = decay
        result = self._prepare(rows, {**shared, **given})(grads)
        if averages and self.step_count > before:
            for number, weight in weights.items():
                averages.weights[number] = weight
        return result

    def _frozen(self) -> list[bool]:
        return [group["frozen"] for group in self.groups]

    def _check_not_swapped(self, where: str) -> None:
        if self._is_swapped:
            raise RuntimeError(f"{where}: the averages stand in place of the parameters")

    # Accumulation

    def accumulate(self, grads: Tree) -> None:
        """Add gradients to a sum, in one pass, for a step that comes later.

        ``step()`` without gradients uses their mean (or with ``accumulation="sum"`` their sum) and
        clears it. Clipping, decay, averages and counting happen once, in that step. A step that is
        skipped clears it too. Sums have the dtype of the parameters: where gradients are so large
        that their sum is infinite, scale them before.

        Raises
        ------
        TypeError, ValueError
            If gradients do not fit, as in :meth:`step`. Nothing has been added then.
        """
        if self._accumulation is None:
            where = f"{type(self).__name__}.accumulate"
            self._accumulation = Accumulation(
                where, self.params, self._grouping.group_of_entry, len(self.groups)
            )
            self.options_changed()
        self._accumulation.add(grads, self._frozen(), self.options["threads"])

    def discard_accumulated(self) -> None:
        """Forget the gradients that were accumulated and not yet used."""
        if self._accumulation:
            self._accumulation.clear()

    def _step_of_sum(self, given: dict[str, Any]) -> StepResult | None:
        accumulation = self._accumulation
        if accumulation is None or accumulation.step_count == 0:
            raise ValueError(
                f"{type(self).__name__}.step: grads is None, and no gradients were accumulated"
            )
        before = self.step_count
        result = self._step_now(None, given, accumulation)
        if self.step_count == before:  # skipped: what is not finite must not stay
            accumulation.clear()
        accumulation.step_count = 0
        return result

    # Averages

    @property
    def _is_swapped(self) -> bool:
        return self._averages is not None and self._averages.swapped

    @contextmanager
    def averaged(self) -> Iterator[Tree]:
        """Put the averages in place of the parameters, within a ``with`` block.

        They are swapped in place, array by array, and swapped back at its end: exactly. Meanwhile
        `ema` has the parameters, and a step is refused.

        Raises
        ------
        ValueError
            Without `ema_decay`, or if an array has been replaced or made read-only.
        RuntimeError
            Within another such block.
        """
        where = f"{type(self).__name__}.averaged"
        if self._averages is None:
            raise ValueError(f"{where}: there are no averages without ema_decay")
        self._check_not_swapped(where)
        self._averages.check(where, self.names, self.params)
        self._swap()
        try:
            yield self.params
        finally:
            self._swap()

    def _swap(self) -> None:
        assert self._averages is not None
        self._averages.swap()
        self.options_changed()

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on: arrays and plain values, under names.

        The arrays are those of the optimizer, not copies. Of a schedule only what it remembers is
        there (as of ReduceOnPlateau); its position is the step count. Parameters are not there.
        """
        self._check_not_swapped(f"{type(self).__name__}.state_dict")
        return saved.state_dict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; all of it or, if an entry is wrong, nothing.

        Arrays are copied into those that the optimizer has. Numbers replace its own; a schedule
        stays, and must be there where the state had one.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, unknown, of another shape or dtype, or out of range; if the
            state is that of another rule or of other groups. The message names it.
        """
        saved.load_state_dict(self, state)

    def __copy__(self) -> Optimizer:
        raise TypeError(
            f"{type(self).__name__}: a shallow copy would share its arrays; copy.deepcopy makes "
            "one that stands by itself"
        )

    def __getstate__(self) -> dict[str, Any]:
        self._check_not_swapped(f"a copy of {type(self).__name__}")
        return {k: v for k, v in vars(self).items() if k not in ("_plan", "_prepared")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
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
