"""The classes: Keras' optimizers, and which rules of ours they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

import fastopt
from fastopt.docstrings import append
from fastopt.keras.optimizer import Optimizer, keras_own

NOTES = """
Parameters, errors and methods are those of ``keras.optimizers.{name}``: schedules, clipping,
`weight_decay`, `use_ema`, `loss_scale_factor`, `gradient_accumulation_steps` are Keras' own code,
and so is saving. The variables are Keras' own; those of the model and the moments change in place.

Notes
-----
The formula is that of :class:`fastopt.{ours}` with {options}. The result differs from that of Keras
by rounding alone{but}. Keras itself updates {what_is_left}variables that are no dense float32 or
float64 tensors in the memory of the host, and all on another backend than PyTorch.

Examples
--------
>>> import keras
>>> from fastopt.keras import {name}
>>> w = keras.Variable([1.0, -2.0])
>>> opt = {name}(learning_rate=0.5)
>>> opt.apply([keras.ops.convert_to_tensor([2.0, -4.0])], [w])
>>> w.value.detach()
{result}
"""

registered = keras.saving.register_keras_serializable(package="fastopt")


@registered
@append(
    NOTES,
    ours="Momentum",
    options="``lr_inside=True``",
    but="",
    what_is_left="",
    result="tensor([0., 0.])",
)
class SGD(Optimizer, keras_own("SGD")):  # type: ignore[misc]
    """SGD, also with momentum, also Nesterov's: ``keras.optimizers.SGD``."""

    def _kind(self) -> Any:
        return self.momentum != 0, bool(self.nesterov)

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self.momentums] if kind[0] else []

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {"momentum": self.momentum} if kind[0] else {}

    def _updates(self) -> int:
        return 1  # Keras' velocity counts from the start, where it is 0

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        has_momentum, nesterov = kind
        if not has_momentum:
            return fastopt.SGD(params)
        state = fastopt.MomentumState(1, *moments)
        return fastopt.Momentum(params, state=state, lr_inside=True, nesterov=nesterov)


@registered
@append(
    NOTES,
    ours="Adam",
    options="``epsilon_hat=True``",
    but="",
    what_is_left="",
    result="tensor([ 0.5000, -1.5000])",
)
class Adam(Optimizer, keras_own("Adam")):  # type: ignore[misc]
    """Adam: ``keras.optimizers.Adam``."""

    def _kind(self) -> Any:
        return "amsgrad" if self.amsgrad else "adam"

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        moments = [self._momentums, self._velocities]
        return [*moments, self._velocity_hats] if kind == "amsgrad" else moments

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {"beta1": self.beta_1, "beta2": self.beta_2, "eps": self.epsilon}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        amsgrad = kind == "amsgrad"
        state_class = fastopt.AMSGradState if amsgrad else fastopt.AdamState
        state = state_class(0, *moments)
        return fastopt.Adam(params, state=state, amsgrad=amsgrad, epsilon_hat=True)


@registered
@append(
    NOTES,
    ours="AdamW",
    options="``epsilon_hat=True``",
    but="",
    what_is_left="",
    result="tensor([ 0.4980, -1.4960])",
)
class AdamW(Adam, keras_own("AdamW")):  # type: ignore[misc]
    """Adam with decoupled weight decay: ``keras.optimizers.AdamW``."""


@registered
@append(
    NOTES,
    ours="RMSprop",
    options="``eps_inside_sqrt=True``",
    but=", and where `centered` finds a negative variance, which counts as 0 here",
    what_is_left="with `momentum`, whose buffer has the learning rate in it in Keras, ",
    result="tensor([-0.5811, -0.4189])",
)
class RMSprop(Optimizer, keras_own("RMSprop")):  # type: ignore[misc]
    """RMSprop, also centered: ``keras.optimizers.RMSprop``."""

    def _kind(self) -> Any:
        return None if self.momentum > 0 else bool(self.centered)

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._velocities, *([self._average_gradients] if kind else [])]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {"rho": self.rho, "eps": self.epsilon}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        squares, *averages = moments
        state = fastopt.RMSpropState(0, squares, averages[0] if kind else None, None)
        return fastopt.RMSprop(params, state=state, centered=kind, eps_inside_sqrt=True)


@registered
@append(
    NOTES,
    ours="Adagrad",
    options="``eps_inside_sqrt=True``",
    but="",
    what_is_left="",
    result="tensor([ 0.5061, -1.5016])",
)
class Adagrad(Optimizer, keras_own("Adagrad")):  # type: ignore[misc]
    """Adagrad: ``keras.optimizers.Adagrad``."""

    def _kind(self) -> Any:
        return "adagrad"

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._accumulators]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {"eps": self.epsilon}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        return fastopt.Adagrad(
            params, state=fastopt.AdagradState(0, *moments), eps_inside_sqrt=True
        )


@registered
@append(
    NOTES,
    ours="Adadelta",
    options="Keras' defaults",
    but="",
    what_is_left="",
    result="tensor([ 0.9993, -1.9993])",
)
class Adadelta(Optimizer, keras_own("Adadelta")):  # type: ignore[misc]
    """Adadelta: ``keras.optimizers.Adadelta``."""

    def _kind(self) -> Any:
        return "adadelta"

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._accumulated_grads, self._accumulated_delta_vars]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {"rho": self.rho, "eps": self.epsilon}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        return fastopt.Adadelta(params, state=fastopt.AdadeltaState(0, *moments))


@registered
@append(
    NOTES,
    ours="Adamax",
    options="``eps_outside_max=True``",
    but="",
    what_is_left="",
    result="tensor([ 0.5000, -1.5000])",
)
class Adamax(Optimizer, keras_own("Adamax")):  # type: ignore[misc]
    """Adamax: ``keras.optimizers.Adamax``."""

    def _kind(self) -> Any:
        return "adamax"

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._m, self._u]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {"beta1": self.beta_1, "beta2": self.beta_2, "eps": self.epsilon}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        return fastopt.Adamax(params, state=fastopt.AdamaxState(0, *moments), eps_outside_max=True)


@registered
@append(
    NOTES,
    ours="Lion",
    options="Keras' defaults",
    but="",
    what_is_left="",
    result="tensor([ 0.5000, -1.5000])",
)
class Lion(Optimizer, keras_own("Lion")):  # type: ignore[misc]
    """Lion: ``keras.optimizers.Lion``."""

    def _kind(self) -> Any:
        return "lion"

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._momentums]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {"beta1": self.beta_1, "beta2": self.beta_2}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        return fastopt.Lion(params, state=fastopt.LionState(0, *moments))


@registered
@append(
    NOTES,
    ours="FTRL",
    options="``lambda2`` and ``l2_shrinkage`` twice those of Keras",
    but="",
    what_is_left="with another `learning_rate_power` than -0.5, ",
    result="tensor([ 0.3500, -1.3439])",
)
class Ftrl(Optimizer, keras_own("Ftrl")):  # type: ignore[misc]
    """FTRL: ``keras.optimizers.Ftrl``."""

    def _kind(self) -> Any:
        return "ftrl" if self.learning_rate_power == -0.5 else None

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._accumulators, self._linears]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {
            "lambda1": self.l1_regularization_strength,
            "lambda2": 2 * self.l2_regularization_strength,
            "beta": self.beta,
            "l2_shrinkage": 2 * self.l2_shrinkage_regularization_strength,
        }

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        return fastopt.FTRL(params, state=fastopt.FTRLState(0, *moments))


@registered
@append(
    NOTES,
    ours="LAMB",
    options="``trust_decay=0.0``",
    but="",
    what_is_left="",
    result="tensor([ 0.2094, -1.2094])",
)
class Lamb(Optimizer, keras_own("Lamb")):  # type: ignore[misc]
    """LAMB: ``keras.optimizers.Lamb``."""

    def _kind(self) -> Any:
        return "lamb"

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._momentums, self._velocities]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {"beta1": self.beta_1, "beta2": self.beta_2, "eps": self.epsilon}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        return fastopt.LAMB(params, state=fastopt.LAMBState(0, *moments), trust_decay=0.0)


@registered
@append(
    NOTES,
    ours="Adafactor",
    options="its defaults (Keras bounds the learning rate with and without `relative_step`)",
    but=", which in Keras is that of float32 also where variables are float64",
    what_is_left="",
    result="tensor([ 0.2094, -1.2094])",
)
class Adafactor(Optimizer, keras_own("Adafactor")):  # type: ignore[misc]
    """Adafactor: ``keras.optimizers.Adafactor``."""

    def _kind(self) -> Any:
        return "adafactor"

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._r, self._c, self._v]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        rounded = [self.beta_2_decay, self.clip_threshold, self.epsilon_1]
        decay, d, eps1 = np.array(rounded, keras.config.floatx())
        return {"beta2_decay": decay, "d": d, "eps1": eps1, "eps2": self.epsilon_2}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        # Keras leaves out the axis over which the mean is, and has means of elements elsewhere.
        rows, columns = [], []
        for p, r, c, v in zip(params, *moments, strict=True):
            rows.append(r.unsqueeze(-1) if p.dim() > 1 else v)
            columns.append(c.unsqueeze(-2) if p.dim() > 1 else v.new_empty(0))
        state = fastopt.AdafactorState(0, rows, columns, None)
        return fastopt.Adafactor(params, state=state)


@registered
@append(
    NOTES,
    ours="NAdam",
    options="``momentum_decay=1.0``",
    but="",
    what_is_left="",
    result="tensor([ 0.4686, -1.4686])",
)
class Nadam(Optimizer, keras_own("Nadam")):  # type: ignore[misc]
    """NAdam: ``keras.optimizers.Nadam``."""

    def _kind(self) -> Any:
        return "nadam"

    def _moments(self, kind: Any) -> list[Sequence[Any]]:
        return [self._momentums, self._velocities]

    def _numbers(self, kind: Any) -> dict[str, Any]:
        return {"beta1": self.beta_1, "beta2": self.beta_2, "eps": self.epsilon}

    def _make(self, kind: Any, params: list[Any], moments: list[list[Any]]) -> Any:
        products = [np.ones(()) for _ in params]  # which each step takes from Keras' own
        momentums, velocities = moments
        state = fastopt.NAdamState(0, momentums, velocities, products)
        return fastopt.NAdam(params, state=state, momentum_decay=1.0)

    def _step(self, bound: Any, *arguments: Any) -> None:
        products = bound.group._arrays()["mu_product"]
        for product in products:
            product[...] = float(self._u_product.value.detach())
        super()._step(bound, *arguments)
        self._u_product.assign(float(products[0]))
