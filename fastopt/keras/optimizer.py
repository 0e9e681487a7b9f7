"""What the optimizers have in common: one step of ours where Keras updates its variables."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import keras

ON_TORCH = keras.backend.backend() == "torch"
if ON_TORCH:
    import torch
    from torch.autograd.graph import increment_version

MOST_BOUNDS = 16  # that an optimizer keeps


def keras_own(name: str) -> Any:
    """Return the class that Keras makes an instance of, which may be one for its backend."""
    return type(getattr(keras.optimizers, name)(name=name))


def not_compiled(method: Callable[..., Any]) -> Any:
    """Keep a method out of what torch compiles, as for ``jit_compile=True``."""
    if not ON_TORCH:
        return method
    disable: Any = torch.compiler.disable  # has no types
    return disable(method)


class Bound:
    """An optimizer of ours for tensors as they are; it holds as long as they stay."""

    def __init__(self, kind: Any, tensors: list[Any], optimizer: Any) -> None:
        self.kind, self.tensors, self.optimizer = kind, tensors, optimizer
        if optimizer is not None:
            (self.group,) = optimizer.groups
        self.numbers: dict[str, float] = {}

    def is_of(self, kind: Any, tensors: list[Any]) -> bool:
        return (
            kind == self.kind
            and len(tensors) == len(self.tensors)
            and all(map(is_, tensors, self.tensors))
        )

    def step(
        self,
        grads: list[Any],
        params: list[Any],
        numbers: dict[str, float],
        t: int,
        grad_scale: float = 1.0,
    ) -> None:
        if numbers != self.numbers:
            self.group.update(numbers)
            self.numbers = numbers
        state = self.group.state
        if state is not None and state.step != t:
            state.step = t
        self.optimizer.step(grads, params=params, grad_scale=grad_scale)
        increment_version(params)


class Optimizer:
    """The base of all, to be combined with a class of Keras'.

    Keras prepares the gradients and does all that comes before and after the update. Parameters and
    moments are Keras' own variables, which steps of ours change in place. What fastopt refuses is
    updated by Keras, as are all variables on another backend.
    """

    _bounds: dict[tuple[int, ...], Bound]
    """By the indices of the variables: other ones may have gradients in the next step."""

    # What a class says of its rule

    def _kind(self) -> Any:
        """Return what decides which rule it is; None if there is none for the options."""
        raise NotImplementedError

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        """Return Keras' variables for the arrays of a state, in its order."""
        raise NotImplementedError

    def _numbers(self, kind: Any) -> dict[str, Any]:
        """Return the options of ours, besides the learning rate, that may change at any time."""
        raise NotImplementedError

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        """Return the optimizer of ours, whose state has these arrays."""
        raise NotImplementedError

    # What Keras calls

    def build(self, variables: Any) -> None:
        """Create the variables of Keras' optimizer."""
        if ON_TORCH:
            self._bounds = {}
        else:
            warnings.warn(
                f"fastopt.keras.{type(self).__name__}: on the {keras.backend.backend()} backend "
                "Keras itself makes the updates, and nothing is gained; set KERAS_BACKEND=torch",
                stacklevel=2,
            )
        super().build(variables)  # type: ignore[misc]

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> Any:
        if not (ON_TORCH and self._update(list(grads), trainable_variables, learning_rate)):
            super()._backend_update_step(  # type: ignore[misc]
                grads, trainable_variables, learning_rate
            )

    @not_compiled
    def _update(self, grads: list[Any], variables: Any, learning_rate: Any) -> bool:
        """Update all variables by one step of ours; False if it is refused: nothing has changed."""
        kind = self._kind()
        if kind is None:
            return False
        params = [variable.value for variable in variables]
        indices = tuple(map(self._get_variable_index, variables))  # type: ignore[attr-defined]
        moments = [[each[i].value for i in indices] for each in self._moments(kind)]
        tensors = sum(moments, params)
        numbers = {name: float(number) for name, number in self._numbers(kind).items()}
        numbers["lr"] = float(learning_rate)
        bound = self._bounds.get(indices)
        if bound is None or not bound.is_of(kind, tensors):
            try:
                optimizer = self._make(kind, params, moments)
            except TypeError:  # of what they are: that stays
                optimizer = None
            except ValueError:  # of what is in them, such as a NaN
                return False
            if len(self._bounds) == MOST_BOUNDS:
                self._bounds.clear()
            bound = self._bounds[indices] = Bound(kind, tensors, optimizer)
        if bound.optimizer is None:
            return False
        try:
            self._step(bound, grads, params, numbers)
        except (TypeError, ValueError):
            return False
        return True

    def _step(
        self, bound: Bound, grads: list[Any], params: list[Any], numbers: dict[str, float]
    ) -> None:
        bound.step(grads, params, numbers, self._updates())

    def _updates(self) -> int:
        """Return how many updates there have been, of which a batch may be a part alone."""
        return int(self._iterations) // (self.gradient_accumulation_steps or 1)  # type: ignore[attr-defined]
