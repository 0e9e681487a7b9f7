"""The base of all optimizers: what they can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, NoReturn

from fastopt.optimizers import saved
from fastopt.optimizers.entries import grouping_of, is_group
from fastopt.optimizers.held import Held
from fastopt.optimizers.loading import checked_count
from fastopt.optimizers.options import SHARED_DEFAULTS, TERM_DEFAULTS, Group, Options
from fastopt.result import StepResult
from fastopt.tree import Tree

GROUP_DEFAULTS = {"frozen": False, **TERM_DEFAULTS}


def no_state(params: tuple[Any, ...]) -> None:
    """Make the state of a rule that has none."""


class Optimizer:
    """The base of all optimizers, which says what they can do.

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
    new_state: Callable[[tuple[Any, ...]], Any] = staticmethod(no_state)
    """Returns the state of the rule for some arrays, or None where it has none."""

    def __init__(self, params: Any, rule_options: dict[str, Any], options: dict[str, Any]) -> None:
        name = type(self).__name__
        known = {**rule_options, **TERM_DEFAULTS, **SHARED_DEFAULTS}
        for option in options:
            if option not in known:
                raise TypeError(
                    f"{name}: there is no option {option!r}; there are {', '.join(known)}"
                )
        terms = {k: options.get(k, v) for k, v in GROUP_DEFAULTS.items()}
        shared = {k: options.get(k, v) for k, v in SHARED_DEFAULTS.items()}
        self._held = Held(
            name,
            self.rule,
            self.new_state,
            grouping_of(name, params),
            {**terms, **rule_options},
            shared,
        )

    @property
    def params(self) -> Tree:
        return self._held.params

    @property
    def groups(self) -> tuple[Group, ...]:
        return self._held.groups

    @property
    def options(self) -> Options:
        return self._held.options

    @property
    def names(self) -> tuple[str, ...]:
        return self._held.names

    @property
    def ema(self) -> Tree | None:
        """The averages, in the structure of `params`; None without `ema_decay`."""
        return self._held.averages.tree if self._held.averages else None

    @property
    def step_count(self) -> int:
        return self._held.count.steps

    @step_count.setter
    def step_count(self, value: int) -> None:
        self._held.count.steps = checked_count(type(self).__name__, "step_count", value)

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
        grad_scale : float, default 1.0
            For this step alone, as the others below: gradients are multiplied by it.
        mask, keep_prob : like `params` with bool or uint8, and float in (0, 1], default None, 1.0
            DropConnect: ``g/keep_prob`` where the mask is true, 0 elsewhere.
        update_mask : like `params` with bool or uint8, default None
            Where it is false, parameter, state and average stay as they are.

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
            Within :meth:`averaged`; while another call of the same optimizer is under way, in
            another thread or in a schedule.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> w = np.array([1.0, -2.0])
        >>> opt = fastopt.SGD(w, lr=0.1, clip_norm=1.0)
        >>> opt.step(np.array([3.0, 4.0]))
        StepResult(skipped=False, grad_norm=5.0, nonfinite=None)
        """
        return self._held.step(grads, grad_scale, mask, keep_prob, update_mask)

    def accumulate(self, grads: Tree) -> None:
        """Add gradients to a sum, in one pass, for a step that comes later.

        ``step()`` without gradients uses their mean (or with ``accumulation="sum"`` their sum) and
        clears it. Clipping, decay, averages and counting happen once, in that step. A step that is
        skipped clears it too. Sums have the dtype of the parameters: where gradients are so large
        that their sum is infinite, scale them before.

        Parameters
        ----------
        grads : like `params`
            The gradients. Where a group is frozen they may be None.

        Raises
        ------
        TypeError, ValueError
            If gradients do not fit, as in :meth:`step`. Nothing has been added then.
        RuntimeError
            Within :meth:`averaged`, or while another call of the same optimizer is under way.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> w = np.zeros(2)
        >>> opt = fastopt.SGD(w, lr=1.0)
        >>> for gradient in (np.array([1.0, 2.0]), np.array([3.0, 4.0])):
        ...     opt.accumulate(gradient)
        >>> opt.step()
        >>> w
        array([-2., -3.])
        """
        self._held.accumulate(grads)

    def discard_accumulated(self) -> None:
        """Forget the gradients that were accumulated and not yet used.

        Raises
        ------
        RuntimeError
            While another call of the same optimizer is under way.
        """
        self._held.plan.discard_sums(f"{type(self).__name__}.discard_accumulated")

    @contextmanager
    def averaged(self) -> Iterator[Tree]:
        """Put the averages in place of the parameters, within a ``with`` block.

        They are swapped in place, array by array, and swapped back at its end: exactly. Meanwhile
        `ema` has the parameters, and a step is refused.

        Yields
        ------
        tree
            `params`, which has the averages.

        Raises
        ------
        ValueError
            Without `ema_decay`, or if an array has been replaced or made read-only.
        RuntimeError
            Within another such block, or while another call of the same optimizer is under way.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> w = np.zeros(1)
        >>> opt = fastopt.SGD(w, lr=1.0, ema_decay=0.75)
        >>> opt.step(np.array([-1.0]))
        >>> with opt.averaged():
        ...     print(w)
        [0.25]
        >>> w
        array([1.])
        """
        where = f"{type(self).__name__}.averaged"
        plan, averages = self._held.plan, self._held.averages
        if averages is None:
            raise ValueError(f"{where}: there are no averages without ema_decay")
        plan.check_not_swapped(where)
        averages.check(where, self.names, self.params)
        mine = object()  # another block may be begun in another thread
        back = partial(plan.swap_back, where, mine)
        try:
            plan.swap_in(where, mine)
            yield self.params
        finally:
            back()  # first of all: an interrupt may come in between

    # Groups

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
            Within :meth:`averaged`, or while another call of the same optimizer is under way.

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
        self._held.add_group(where, group)

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on: arrays and plain values, under names.

        The arrays are those of the optimizer, not copies. Of a schedule only what it remembers is
        there (as of ReduceOnPlateau); its position is the step count. Parameters are not there.

        Returns
        -------
        dict
            For :meth:`load_state_dict`, :func:`fastopt.save` and what else saves arrays.

        Raises
        ------
        RuntimeError
            Within :meth:`averaged`.
        """
        self._held.plan.check_not_swapped(f"{type(self).__name__}.state_dict")
        return saved.state_dict(self._held)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; all of it or, if an entry is wrong, nothing.

        Arrays are copied into those that the optimizer has. Numbers replace its own; a schedule
        stays, and must be there where the state had one.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` returned, of an optimizer of this rule with these groups.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, unknown, of another shape or dtype, or out of range; if the
            state is that of another rule or of other groups. The message names it.
        RuntimeError
            Within :meth:`averaged`, or while another call of the same optimizer is under way.
        """
        where = f"{type(self).__name__}.load_state_dict"
        with self._held.plan.turn(where):
            saved.load_state_dict(self._held, where, state)

    def __copy__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}: a shallow copy would share its arrays; copy.deepcopy makes "
            "one that stands by itself"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        held = vars(self).get("_held")
        for place, options in (("groups[...]", "defaults"), ("options", "options")):
            if held and name in getattr(held, options):
                raise AttributeError(
                    f"{type(self).__name__}: {name} is an option, and set by "
                    f"opt.{place}[{name!r}] = ..."
                )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        count = sum(array.size for group in self.groups for array in group.params)
        head = f"{count:,} parameters in {len(self.names)} arrays, step_count={self.step_count}"
        lines = [f"{type(self).__name__}({head}"]
        if shared := self.options.shown(SHARED_DEFAULTS):
            lines.append(f"  {shared}")
        for i, group in enumerate(self.groups):
            lines.append(f"  groups[{i}]: {len(group.names)} arrays, {group.shown(GROUP_DEFAULTS)}")
        return "\n".join(lines) + ")"
