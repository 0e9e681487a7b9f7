"""`MLPClassifier` and `MLPRegressor`, whose optimizer is exchanged when training sets it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from sklearn import __version__, neural_network
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer
from sklearn.utils._param_validation import StrOptions

import fastopt
from fastopt.optimizers.optimizer import Optimizer
from fastopt.sklearn.updates import Updates, named

BY_NAME: dict[str, Callable[..., Optimizer]] = {
    cls.__name__.lower(): cls
    for cls in vars(fastopt).values()
    if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer
}
"""The classes of fastopt under their names in lower case."""


class _OnFastopt:
    """What both networks have in common: the place where scikit-learn sets its optimizer."""

    _updates: Updates

    @property
    def _optimizer(self) -> Updates:
        try:
            return self._updates
        except AttributeError:  # it is not there before training
            raise AttributeError("_optimizer") from None

    @_optimizer.setter
    def _optimizer(self, theirs: Any) -> None:
        self._updates = self._updates_like(theirs)

    def _updates_like(self: Any, theirs: Any) -> Updates:
        params = named(self.coefs_ + self.intercepts_)
        if self.optimizer is not None:
            of_choice: Updates = self._updates_of_choice(params)
            return of_choice
        if isinstance(theirs, SGDOptimizer):
            momentum = fastopt.Momentum(
                params,
                lr=theirs.learning_rate,
                momentum=theirs.momentum,
                nesterov=theirs.nesterov,
                lr_inside=True,
            )
            return Updates(momentum, theirs, follows=True)
        adam = fastopt.Adam(
            params,
            lr=theirs.learning_rate_init,
            beta1=theirs.beta_1,
            beta2=theirs.beta_2,
            eps=theirs.epsilon,
            epsilon_hat=True,
        )
        return Updates(adam, theirs, follows=False)  # the rates of theirs are corrected for bias

    def _updates_of_choice(self: Any, params: Any) -> Updates:
        if isinstance(self.optimizer, str):
            optimizer = BY_NAME[self.optimizer](params, lr=self.learning_rate_init)
        else:
            optimizer = self.optimizer(params)
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{name}: optimizer must make an optimizer of fastopt from a tree of arrays, it "
                f"made {optimizer!r:.60}"
            )
        rates = {group["lr"] for group in optimizer.groups}
        follows = self.learning_rate != "constant"
        if follows and (len(rates) > 1 or callable(next(iter(rates)))):
            raise ValueError(
                f"{name}: learning_rate={self.learning_rate!r} needs an optimizer with one number "
                f"as lr, it has {', '.join(map(str, rates))}"
            )
        start = next(iter(rates)) if follows else self.learning_rate_init
        schedule = SGDOptimizer([], start, self.learning_rate, power_t=self.power_t)
        return Updates(optimizer, schedule, follows=follows)

    def _fit_lbfgs(self: Any, *args: Any) -> None:
        if self.optimizer is not None:
            raise ValueError(
                f"{type(self).__name__}: optimizer= needs solver 'adam' or 'sgd', it is 'lbfgs'"
            )
        super()._fit_lbfgs(*args)  # type: ignore[misc]


def _init_of(parent: Any) -> Any:
    """Return the constructor of a network with `optimizer` behind the parameters of its parent."""
    signature = inspect.signature(parent.__init__)

    @wraps(parent.__init__)
    def __init__(self: Any, *args: Any, optimizer: Any = None, **options: Any) -> None:
        parent.__init__(self, *args, **options)
        self.optimizer = optimizer

    own = inspect.Parameter("optimizer", inspect.Parameter.KEYWORD_ONLY, default=None)
    __init__.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), own]
    )
    return __init__


def _constraints_of(parent: Any) -> dict[str, Any]:
    if not hasattr(parent, "_fit_stochastic"):
        raise ImportError(
            f"fastopt.sklearn: the networks of scikit-learn {__version__} train in another way "
            "than those of 1.7 to 1.9, with which it was tested"
        )
    return {
        **parent._parameter_constraints,
        "optimizer": [StrOptions({*BY_NAME}), callable, None],
    }


DOC = """\
`sklearn.neural_network.NAME`, trained by an optimizer of fastopt.

With the default it trains to the weights of its parent, to the last digits of float64: Adam
with epsilon in its hat form, or for ``solver="sgd"`` momentum with the learning rate inside of
the buffer. All parameters, attributes and methods are those of the parent.

Parameters
----------
optimizer : str or callable, default None
    None: the optimizer that ``solver`` names, with ``beta_1``, ``momentum`` and the others. A
    name, such as ``"adamw"`` or ``"rmsprop"``: that class of fastopt with
    ``lr=learning_rate_init``. A callable: it gets the arrays,
    ``{"coefs": [...], "intercepts": [...]}``, and makes an optimizer of fastopt, as a class
    does and ``functools.partial(fastopt.AdamW, lr=1e-3, weight_decay=1e-2)``; its learning rate
    counts, not ``learning_rate_init``.

    With a name or a callable, ``learning_rate`` ("invscaling", "adaptive") holds for every rule
    and begins at the learning rate of the optimizer, which must be one number then; schedules
    of the optimizer count batches. Every fit makes a new optimizer; ``partial_fit`` goes on.
**others
    Those of the parent, in its order. ``alpha``, the L2 penalty, is in the gradients already.

Raises
------
ValueError
    From ``fit``, if ``solver`` is "lbfgs" and ``optimizer`` is not None; or as the parent.
TypeError
    If the callable makes something else.

See Also
--------
fastopt.Adam : The optimizer, whose step is the same bit for bit for any number of threads.

Notes
-----
``coefs_`` and ``intercepts_`` change in place; other arrays of the same shapes may take their
place between calls of ``partial_fit``. A fitted network can be pickled, copied and cloned.
Where examples have weights, the gradients of float32 networks are float64, and are rounded to
float32 before the update, where the parent rounds after it.

Examples
--------
>>> from functools import partial
>>> import fastopt
>>> from fastopt.sklearn import NAME
>>> from sklearn.datasets import load_iris
>>> X, y = load_iris(return_X_y=True)LINE
>>> factory = partial(fastopt.AdamW, lr=0.01, weight_decay=0.1)
>>> network = NAME(optimizer=factory, max_iter=1000, random_state=0)
>>> network.fit(X, y).score(X, y) > 0.9
True
"""
"""What the docstrings of both have in common."""


class MLPClassifier(_OnFastopt, neural_network.MLPClassifier):  # type: ignore[misc]
    __doc__ = DOC.replace("NAME", "MLPClassifier").replace("LINE", "")
    __init__ = _init_of(neural_network.MLPClassifier)
    _parameter_constraints = _constraints_of(neural_network.MLPClassifier)


class MLPRegressor(_OnFastopt, neural_network.MLPRegressor):  # type: ignore[misc]
    __doc__ = DOC.replace("NAME", "MLPRegressor").replace("LINE", "\n>>> X, y = X[:, :3], X[:, 3]")
    __init__ = _init_of(neural_network.MLPRegressor)
    _parameter_constraints = _constraints_of(neural_network.MLPRegressor)
