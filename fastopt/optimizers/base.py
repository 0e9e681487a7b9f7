"""What all optimizers can do: steps, accumulation, averages, saving."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastopt import _core
from fastopt.optimizers import saved
from fastopt.optimizers.accumulation import Accumulation
from fastopt.optimizers.holder import Holder
from fastopt.result import StepResult
from fastopt.tree import Tree

UNSCALED, ALL_KEPT = 1.0, 1.0  # to be known by what they are, which takes no comparison of numbers


class Optimizer(Holder):
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

    # Steps

    def step(
        self,
        grads: Tree | None = None,
        *,
        grad_scale: float = UNSCALED,
        mask: Tree | None = None,
        keep_prob: float = ALL_KEPT,
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
            another thread; if a schedule makes a step.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> w = np.array([1.0, -2.0])
        >>> opt = fastopt.SGD(w, lr=0.1, clip_norm=1.0)
        >>> opt.step(np.array([3.0, 4.0]))
        StepResult(skipped=False, grad_norm=5.0, nonfinite=None)
        """
        prepared = self._prepared
        bare = mask is update_mask is None and grad_scale is UNSCALED and keep_prob is ALL_KEPT
        if bare and prepared is not None and grads is not None:
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
        waiting, cleared = self._waiting, None
        if waiting and not accumulated:
            raise ValueError(
                f"{where}: {waiting} accumulated gradients are waiting; step() without gradients "
                "takes them, discard_accumulated() forgets them"
            )
        if accumulated:
            accumulated.check_frozen(where, self._frozen())
            cleared = accumulated.count_array
            grads, given["zero_grads"] = accumulated.sums, True
            _core.sgd_check(where, 0.0, {"grad_scale": given["grad_scale"]})
            if self.options["accumulation"] == "mean" and waiting:
                given["grad_scale"] = given["grad_scale"] / waiting
        averages, weights = self._averages, {}
        if averages and self.options["ema_debias"]:
            for number, row in enumerate(rows):
                if row is not None:
                    decay, weights[number] = averages.debiased(number, shared["ema_decay"])
                    row[-1]["ema_decay"] = decay
        try:
            return self._prepare(rows, {**shared, **given}, cleared)(grads)
        finally:  # an interrupt may come as soon as the step is made
            if averages and self.step_count > before:
                for number, weight in weights.items():
                    averages.weights[number] = weight

    def _frozen(self) -> list[bool]:
        return [group["frozen"] for group in self.groups]

    # Accumulation

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
        where = f"{type(self).__name__}.accumulate"
        self._check_not_swapped(where)
        with _core.turn(where, self._plan):
            if self._accumulation is None:
                self._accumulation = Accumulation(
                    where, self.params, self._grouping.group_of_entry, len(self.groups)
                )
            self._prepared = None  # as long as gradients are waiting
            try:
                self._accumulation.add(grads, self._frozen(), self.options["threads"])
            finally:
                if not self._waiting:  # what was refused is not waited for
                    self.options_changed()

    def discard_accumulated(self) -> None:
        """Forget the gradients that were accumulated and not yet used."""
        with _core.turn(f"{type(self).__name__}.discard_accumulated", self._plan):
            if self._accumulation:
                self._accumulation.clear()
            self.options_changed()

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
        self.options_changed()
        return result

    # Averages

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
            Within another such block.

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
        if self._averages is None:
            raise ValueError(f"{where}: there are no averages without ema_decay")
        self._check_not_swapped(where)
        self._averages.check(where, self.names, self.params)
        back = self._averages.swap(where, wanted=False)
        try:
            with _core.turn(where, self._plan):
                self._prepared = None  # a step from another thread must find them swapped
                self._averages.swap(where, wanted=True)()
            yield self.params
        finally:
            back()  # first of all: an interrupt may come in between
            self.options_changed()

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
        self._check_not_swapped(f"{type(self).__name__}.state_dict")
        return saved.state_dict(self)

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
        with _core.turn(f"{type(self).__name__}.load_state_dict", self._plan):
            saved.load_state_dict(self, state)
