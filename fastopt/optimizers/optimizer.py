"""The base of all optimizers: what they can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

from fastopt.optimizers import saved
from fastopt.optimizers.loading import Loading
from fastopt.optimizers.settings import Settings
from fastopt.result import Loaded, MaybeNone, StepResult
from fastopt.tree import LikeParams, PartialTree, Tree

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastopt.optimizers.options import (
        StepArguments,
        WithClipNorm,
        WithClipTensorNorm,
        WithSkipNonfinite,
    )


class Optimizer(Settings):
    """The base of all optimizers, which says what they can do.

    Attributes
    ----------
    params
        The parameters, as they were given: a tree, or a list of the trees of all groups.
    groups : tuple of Group
        The options of every group, by number or pattern: ``opt.groups[0]["lr"] = 1e-4``,
        ``opt.groups["*.bias"]["l2"] = 0``. They are checked when they are set.
    options : Options
        The options that all groups have in common: ``opt.options["clip_norm"] = 1.0``.
    names : tuple of str
        The dotted names of all arrays.
    frozen : tuple of str
        The names of those that are frozen: see :meth:`freeze`.
    step_count : int
        The updates made so far. It is what schedules see, so the first update sees 0.
    """

    @property
    def ema(self) -> LikeParams:
        """The averages, in the structure of `params`; None without `ema_decay`."""
        return self._held.averages.tree if self._held.averages else None

    # Steps

    @overload
    def step(
        self, grads: PartialTree | None = None, **arguments: Unpack[WithClipNorm]
    ) -> StepResult: ...
    @overload
    def step(
        self, grads: PartialTree | None = None, **arguments: Unpack[WithClipTensorNorm]
    ) -> StepResult: ...
    @overload
    def step(
        self, grads: PartialTree | None = None, **arguments: Unpack[WithSkipNonfinite]
    ) -> StepResult: ...
    @overload
    def step(
        self, grads: PartialTree | None = None, **arguments: Unpack[StepArguments]
    ) -> StepResult | MaybeNone: ...
    def step(
        self,
        grads: PartialTree | None = None,
        *,
        params: Tree | None = None,
        grad_scale: float = 1.0,
        mask: PartialTree | None = None,
        keep_prob: float = 1.0,
        update_mask: PartialTree | None = None,
        **numbers: Any,
    ) -> StepResult | MaybeNone:
        """Update the parameters in place.

        Parameters
        ----------
        grads : like `params`, or None
            The gradients: for a list of groups a list with a tree for each. An entry may be None:
            that array is left out altogether, its state and average too, and its count of updates
            stays behind. Without gradients the step is made with those that were accumulated.
        params : like `params`, or None
            The parameters from now on: arrays of the same names, shapes and dtypes, for programs
            that replace arrays. States, averages and counts stay. Entries with new names join the
            group that their name matches, with a state that begins at step 0. If the step is
            refused, the parameters of before stay.
        grad_scale : float, default 1.0
            For this step alone, as the others below: gradients are multiplied by it.
        mask, keep_prob : like `params` with bool or uint8, and float in (0, 1], default None, 1.0
            DropConnect: ``g/keep_prob`` where the mask is true, 0 elsewhere.
        update_mask : like `params` with bool or uint8, default None
            Where it is false, parameter, state and average stay as they are.
        **numbers
            Any number of `groups` (then it holds for all of them) or `options`, for this step
            alone: ``lr=0.1``, ``clip_norm=1.0``, ``threads=1``. A schedule that it takes the place
            of is not asked.

        Returns
        -------
        StepResult or None
            None, or with `clip_norm`, `clip_tensor_norm` or `skip_nonfinite` what was found out.

        Raises
        ------
        TypeError, ValueError
            As the functional step; and if an array of the parameters has been replaced, resized or
            made read-only since the optimizer was made, or `params` do not fit. Nothing has been
            changed then.
        FloatingPointError
            With ``skip_nonfinite="raise"`` where another value would skip the step.
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
        held = self._held
        result = held.step(grads, grad_scale, mask, keep_prob, update_mask, numbers, params)
        if result is not NotImplemented:
            return result
        of_step = (grads, grad_scale, mask, keep_prob, update_mask, numbers)
        return held.step_with(f"{type(self).__name__}.step", params, *of_step)

    def accumulate(
        self,
        grads: PartialTree,
        *,
        weight: float = 1.0,
        skip_nonfinite: bool | Literal["raise"] = False,
    ) -> StepResult | MaybeNone:
        """Add gradients to a sum, in one pass, for a step that comes later.

        ``step()`` without gradients uses their mean, ``sum(weight*g) / sum(weight)``, or with
        ``accumulation="sum"`` their sum, and clears it. Clipping, decay, averages and counting
        happen once, in that step. A step that is skipped clears it too. Sums have the dtype of the
        parameters: where gradients are so large that their sum is infinite, scale them before.

        Parameters
        ----------
        grads : like `params`
            The gradients. An entry may be None, which adds nothing; an array that never had a
            gradient is left out of the step.
        weight : float, default 1.0, in [1e-30, 1e30]
            What these gradients count, such as the number of examples that they are the mean of.
        skip_nonfinite : bool or "raise", default False
            Leave these gradients out if one of them has an infinity or a NaN: nothing is added or
            counted, and the mean is that of the others. (That of `options` looks at the sum, and
            skips the whole step.) A step for which all were left out is skipped. A loss scale must
            be the same for all gradients of a sum: do not let it follow this result.

        Returns
        -------
        StepResult or None
            With `skip_nonfinite` what was found out: ``skipped`` says that they were left out.

        Raises
        ------
        TypeError, ValueError
            If gradients do not fit, as in :meth:`step`. Nothing has been added then.
        FloatingPointError
            With ``skip_nonfinite="raise"``, in place of leaving them out.
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
        return self._held.accumulate(grads, weight, skip_nonfinite)

    def discard_accumulated(self) -> None:
        """Forget the gradients that were accumulated and not yet used.

        Raises
        ------
        RuntimeError
            While another call of the same optimizer is under way.
        """
        self._held.plan.discard_sums(f"{type(self).__name__}.discard_accumulated")

    @contextmanager
    def averaged(self) -> Iterator[LikeParams]:
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
            with plan.turn(where):  # a step in another thread must not be under way
                plan.swap_in(where, mine, averages.arrays, "the averages")
            yield self.params
        finally:
            back()  # first of all: an interrupt may come in between

    def reset_averages(self) -> None:
        """Let the averages begin anew, as copies of the parameters as they are now.

        For parameters that were set since, such as weights that were loaded.

        Raises
        ------
        ValueError
            Without `ema_decay`.
        RuntimeError
            Within :meth:`averaged`, or while another call of the same optimizer is under way.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> w = np.zeros(2)
        >>> opt = fastopt.SGD(w, lr=1.0, ema_decay=0.9)
        >>> w[:] = 5.0
        >>> opt.reset_averages()
        >>> opt.ema
        array([5., 5.])
        """
        where = f"{type(self).__name__}.reset_averages"
        with self._held.plan.turn(where):
            self._held.plan.check_not_swapped(where)
            self._held.reset_averages(where)

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

    @overload
    def load_state_dict(
        self,
        state: dict[str, Any],
        *,
        options: Literal["saved", "keep"] = "saved",
        strict: Literal[True] = True,
    ) -> None: ...
    @overload
    def load_state_dict(
        self,
        state: dict[str, Any],
        *,
        options: Literal["saved", "keep"] = "saved",
        strict: Literal[False],
    ) -> Loaded: ...
    @overload
    def load_state_dict(
        self,
        state: dict[str, Any],
        *,
        options: Literal["saved", "keep"] = "saved",
        strict: bool,
    ) -> Loaded | None: ...
    def load_state_dict(
        self,
        state: dict[str, Any],
        *,
        options: Literal["saved", "keep"] = "saved",
        strict: bool = True,
    ) -> Loaded | None:
        """Take over what :meth:`state_dict` returned; all of it or, if an entry is wrong, nothing.

        Arrays are copied into those that the optimizer has, by their names.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` returned, of an optimizer of this rule with these groups.
        options : "saved" or "keep", default "saved"
            Whose options hold then. With "saved" the numbers of the state replace those of the
            optimizer, and a warning names each that differs; a schedule stays, and must be there
            where the state had one. With "keep" those of the optimizer stay, all of them.
        strict : bool, default True
            With False, what fits is loaded by its names, and the rest stays as it is. Then a group
            takes the options that the first of its arrays had.

        Returns
        -------
        Loaded or None
            With ``strict=False`` what was ``missing`` and what was ``left_over``.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, unknown, of another shape or dtype, or out of range; if an array
            of the state or an average has a NaN or an infinity, or a mean of squares is negative,
            which steps would never get rid of; if the state is that of another rule or of other
            groups. The message names it. Nothing has been changed then.
        RuntimeError
            Within :meth:`averaged`, or while another call of the same optimizer is under way.

        Notes
        -----
        Averages that the state has not, but the optimizer has, begin as copies of the parameters as
        they are then.

        Examples
        --------
        >>> import numpy as np, fastopt
        >>> w = np.ones(2)
        >>> saved = fastopt.Adam(w, lr=0.1).state_dict()
        >>> opt = fastopt.Adam(w, lr=0.001, clip_norm=1.0)
        >>> opt.load_state_dict(saved, options="keep")
        >>> opt.groups[0]["lr"], opt.options["clip_norm"]
        (0.001, 1.0)
        """
        where = f"{type(self).__name__}.load_state_dict"
        with self._held.plan.turn(where):
            loading = Loading(self._held, where, options, strict, self._never_negative)
            loaded = loading.load(state)
        return None if strict else loaded

    def __copy__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}: a shallow copy would share its arrays; copy.deepcopy makes "
            "one that stands by itself"
        )
