"""What configs name: functions with the signatures of thinc's, which make our optimizer."""

from __future__ import annotations

from functools import wraps
from typing import Any

from thinc import optimizers

from fastopt.thinc.optimizer import Optimizer

ANNOTATIONS = ["__annotations__"]
"""What the registry validates configs by: parameters and defaults are theirs as well."""


@wraps(optimizers.Adam, assigned=ANNOTATIONS)
def Adam(learn_rate: Any = optimizers.ADAM_DEFAULTS["learn_rate"], **options: Any) -> Optimizer:
    """Return an :class:`Optimizer` for Adam: ``fastopt.Adam.v1``, with the options of ``Adam.v1``.

    Parameters
    ----------
    learn_rate : float, list, generator or schedule, default 0.001, >= 0
        The learning rate.
    **options
        `L2`, `beta1`, `beta2`, `eps`, `grad_clip`, `L2_is_weight_decay` and `use_averages`, as of
        :class:`Optimizer`.

    Examples
    --------
    >>> from fastopt.thinc import Adam
    >>> from thinc.api import Linear, Model
    >>> import numpy as np
    >>> model = Linear(2, 3).initialize()
    >>> y, backprop = model.begin_update(np.ones((4, 3), np.float32))
    >>> gradient = backprop(y - 1)
    >>> model.finish_update(Adam(0.01, L2=0.1))
    """
    return Optimizer(learn_rate, **options)


@wraps(optimizers.RAdam, assigned=ANNOTATIONS)
def RAdam(learn_rate: Any = optimizers.ADAM_DEFAULTS["learn_rate"], **options: Any) -> Optimizer:
    """Return an :class:`Optimizer` for RAdam: ``fastopt.RAdam.v1``, as thinc's ``RAdam.v1``.

    Parameters
    ----------
    learn_rate : float, list, generator or schedule, default 0.001, >= 0
        The learning rate.
    **options
        `L2`, `beta1`, `beta2`, `eps`, `grad_clip`, `L2_is_weight_decay` and `use_averages`, as of
        :class:`Optimizer`.

    Examples
    --------
    >>> from fastopt.thinc import RAdam
    >>> optimizer = RAdam(0.01, beta2=0.99)
    """
    return Optimizer(learn_rate, use_radam=True, **options)


@wraps(optimizers.SGD, assigned=ANNOTATIONS)
def SGD(learn_rate: Any, **options: Any) -> Optimizer:
    """Return an :class:`Optimizer` for SGD: ``fastopt.SGD.v1``, with the options of ``SGD.v1``.

    Parameters
    ----------
    learn_rate : float, list, generator or schedule, >= 0
        The learning rate.
    **options
        `L2`, `grad_clip`, `L2_is_weight_decay` and `use_averages`, as of :class:`Optimizer`.

    Examples
    --------
    >>> from fastopt.thinc import SGD
    >>> optimizer = SGD(0.1, grad_clip=0.0)
    """
    return Optimizer(learn_rate, beta1=0.0, beta2=0.0, **options)
