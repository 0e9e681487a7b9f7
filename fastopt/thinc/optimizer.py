"""`Optimizer`, a subclass of thinc's, which alone passes its registry."""

from __future__ import annotations

from collections.abc import Hashable
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thinc import optimizers

from fastopt import AdamState, RAdamState, adam_step, global_norm, radam_step, sgd_step

Array = NDArray[np.float32]

NUMBERS = attrgetter("learn_rate", "b1", "b2", "eps", "L2", "grad_clip")
HAS_SCHEDULES = hasattr(optimizers.Optimizer, "step")
"""Whether these attributes are schedules, as in thinc 9, or the numbers of now."""


class Optimizer(optimizers.Optimizer):  # type: ignore[misc]
    """`thinc.optimizers.Optimizer`, whose updates are steps of fastopt.

    A call is one step on one array, with `use_radam` `radam_step`, else `adam_step` or, where
    ``beta2`` is 0, `sgd_step`::

        L2_is_weight_decay: g = clip(g), the rule, p -= lr*L2*p
        without:            g = clip(g + L2*p), the rule
        use_averages:       average += (1 - decay)*(p - average), from zero, decay = (1+t)/(10+t)

    where ``clip`` limits the norm of the array, Adam has its epsilon in the hat form, and ``t``
    counts the updates of the array; RAdam counts one ahead. The gradient is zero afterwards.

    Parameters
    ----------
    learn_rate : float, list, generator or schedule, >= 0
        The learning rate. Of thinc 9 all schedules, of 8 lists and generators; ``step_schedules``
        turns to the next value. So can be all numbers below.
    L2 : float, default 0, >= 0
        Weight decay or the penalty ``L2/2 * sum(p**2)``, as `L2_is_weight_decay` says.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    grad_clip : float, default 1.0, >= 0
        The largest norm of the gradient of an array; 0 is no limit.
    use_averages : bool, default True
        Keep moving averages of the weights in `averages`.
    use_radam : bool, default False
        RAdam in place of Adam; it leaves `lr_scale` to the decay, as thinc's does.
    L2_is_weight_decay : bool, default True
        Decay weights by ``lr*L2`` after the rule; or else add ``L2*p`` to the gradient before it
        is clipped.

    Raises
    ------
    ValueError, TypeError
        From a call, with the key and what is wrong with the arrays or numbers, before anything is
        written: weights or gradients that are read-only, shapes or dtypes that differ, moments of
        weights that had another size.

    See Also
    --------
    fastopt.adam_step, fastopt.radam_step : The steps, with their formulas.

    Notes
    -----
    Attributes and methods are those of the parent, which `mom1`, `mom2`, `averages` and
    `nr_update` can be taken from and given to. Weights that are not float32 arrays of NumPy
    (CuPy's, float64) go thinc's own way.

    Weights that are not contiguous change in place; the parent returns changed copies, or takes
    wrong elements of slices. `beta1` may be 0, where the parent raises.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.thinc import Optimizer
    >>> optimizer = Optimizer(0.1, L2=0.5)
    >>> weights, gradient = np.ones(2, np.float32), np.array([0.3, -0.4], np.float32)
    >>> weights, gradient = optimizer((0, "W"), weights, gradient)
    >>> weights.round(3), gradient
    (array([0.855, 1.045], dtype=float32), array([0., 0.], dtype=float32))
    """

    __slots__ = ["_states"]

    def __init__(self, learn_rate: Any, **options: Any) -> None:
        super().__init__(learn_rate, **options)
        self._states = _States()

    def __call__(
        self, key: Hashable, weights: Any, gradient: Any, *, lr_scale: float = 1.0
    ) -> tuple[Any, Any]:
        """Update `weights` in place by `gradient`, leave this at zero, and return both."""
        if not (isinstance(weights, np.ndarray) and weights.dtype == np.float32):
            updated: tuple[Any, Any] = super().__call__(key, weights, gradient, lr_scale=lr_scale)
            return updated
        if np.size(gradient):
            try:
                self._step_of(key, weights, gradient, lr_scale)
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"{key}: {error}") from error
        return weights, gradient

    def _step_of(self, key: Hashable, weights: Array, gradient: Array, lr_scale: float) -> None:
        if gradient.shape != weights.shape:
            raise ValueError(f"grads has shape {gradient.shape}, params has {weights.shape}")
        learn_rate, beta1, beta2, eps, l2, clip = self._numbers(key)
        decay, penalty = (l2, 0.0) if self.L2_is_weight_decay else (0.0, l2)
        scale = 1.0
        if clip:  # that of steps leaves the penalty out, and lets a NaN spread
            norm = global_norm(gradient + penalty * weights if penalty else gradient)
            if norm > clip:
                scale = clip / norm
        count = self.nr_update[key]
        options: dict[str, Any] = {
            "lr": lr_scale * learn_rate,
            "grad_scale": scale,
            "l2": scale * penalty,
            "weight_decay": decay,
            "decay_after": True,
            "zero_grads": True,
        }
        average = None if self.averages is None else self._average(key, weights)
        if average is not None:
            options["ema"] = average
            options["ema_decay"] = min((2 + count) / (11 + count), 0.9999)
        of_adam: dict[str, Any] = {"beta1": beta1, "beta2": beta2, "eps": eps, "epsilon_hat": True}
        if self.use_radam:
            state = self._state(RAdamState, key, weights)
            state.step = count + 1
            options |= {"lr": learn_rate, "weight_decay": lr_scale * decay}
            radam_step(weights, gradient, state, **options, **of_adam)
        elif beta2:
            state = self._state(AdamState, key, weights)
            state.step = count
            adam_step(weights, gradient, state, **options, **of_adam)
        else:
            sgd_step(weights, gradient, **options)
        self.nr_update[key] = count + 1
        if average is not None:
            self.averages[key] = average

    def _numbers(self, key: Hashable) -> tuple[float, ...]:
        """Return what `NUMBERS` are in this update."""
        numbers: tuple[Any, ...] = NUMBERS(self)
        if not HAS_SCHEDULES:
            return numbers
        step, score = self.step, self.last_score
        return tuple([schedule(step, key=key, last_score=score) for schedule in numbers])

    def _average(self, key: Hashable, weights: Array) -> Array:
        average: Array | None = self.averages.get(key)
        return np.zeros(weights.shape, np.float32) if average is None else average

    def _state(self, kind: type[Any], key: Hashable, weights: Array) -> Any:
        """Return the moments in the shape of `weights`: views of those that thinc keeps flat."""
        state = self._states.get(key)
        if (
            not isinstance(state, kind)
            or state.m.base is not self.mom1.get(key)  # which others may have replaced
            or state.v.base is not self.mom2.get(key)
            or state.m.shape != weights.shape
        ):
            moments = (
                _moment(name, getattr(self, name), key, weights) for name in ("mom1", "mom2")
            )
            state = self._states[key] = kind(0, *moments)
        return state


class _States(dict[Hashable, Any]):
    """States by key. Copies and pickles are empty: an optimizer makes them of its own moments."""

    def __reduce__(self) -> tuple[type[_States], tuple[()]]:
        return _States, ()


def _moment(name: str, moments: dict[Hashable, Array], key: Hashable, weights: Array) -> Array:
    flat = moments.get(key)
    if flat is None:
        flat = moments[key] = np.zeros(weights.size, np.float32)
    elif flat.shape != (weights.size,):
        raise ValueError(f"{name} has shape {flat.shape}, the weights have {weights.size} elements")
    return flat.reshape(weights.shape)  # of one axis, this is always a view
