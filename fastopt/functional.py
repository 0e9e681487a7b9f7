"""The steps: what they are called, what their options default to, what they mean.

They do nothing themselves. Each passes its arguments on to the C++ core in a fixed order; the core
checks them, and then runs the rule of ``csrc/rules`` over all arrays in one pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastopt import _core
from fastopt._docstrings import document_step
from fastopt.options import StepOptions
from fastopt.result import StepResult
from fastopt.state import AdamState, MomentumState, RMSpropState
from fastopt.tree import Tree

if TYPE_CHECKING:
    from typing_extensions import Unpack


@document_step
def sgd_step(
    params: Tree,
    grads: Tree,
    state: None = None,
    *,
    lr: float = 1e-2,
    **options: Unpack[StepOptions],
) -> StepResult | None:
    """Update `params` in place by one step of stochastic gradient descent.

    ::

        p -= lr * g

    Parameters
    ----------
    {ARRAYS}
    state : None
        SGD has no state. The argument is there so that all steps can be called alike.
    lr : float, default 0.01, >= 0
        The learning rate.
    {TERMS}

    Returns
    -------
    {RETURNS}

    Raises
    ------
    {RAISES}

    Notes
    -----
    The same as ``torch.optim.SGD`` and Keras' ``SGD`` without momentum. torch's ``weight_decay``
    there is `l2` here.

    Source: Robbins & Monro 1951, "A stochastic approximation method".

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, -2.0])
    >>> fastopt.sgd_step(w, np.array([0.5, 0.5]), lr=0.1)
    >>> w
    array([ 0.95, -2.05])
    """
    return _core.sgd_step(None, params, grads, state, lr, options)


@document_step
def momentum_step(
    params: Tree,
    grads: Tree,
    state: MomentumState,
    *,
    lr: float = 1e-2,
    momentum: float = 0.9,
    dampening: float = 0.0,
    nesterov: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | None:
    """Update `params` and `state` in place by one step of SGD with momentum.

    ::

        buf = momentum*buf + (1 - dampening)*g      (first step: buf = g)
        p -= lr * buf                               (nesterov: p -= lr * (g + momentum*buf))

    Parameters
    ----------
    {ARRAYS}
    state : MomentumState
        From :func:`momentum_init`. ``buf`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        The learning rate.
    momentum : float, default 0.9, in [0, 1]
        The share of the buffer that is kept.
    dampening : float, default 0.0, in [0, 1]
        What is withheld of the gradient. ``dampening=momentum`` makes `buf` an average of the
        gradients instead of a sum.
    nesterov : bool, default False
        Nesterov's momentum: look ahead by one step of the buffer.
    {TERMS}

    Returns
    -------
    {RETURNS}

    Raises
    ------
    {RAISES}

    Notes
    -----
    The same as ``torch.optim.SGD(momentum=...)``. Keras and scikit-learn keep the learning rate
    inside of the buffer (``vel = momentum*vel - lr*g; p += vel``): the same while lr is constant,
    with ``buf = -vel / lr`` and ``state.step`` at least 1 (in the first step ``buf`` is not read).

    Momentum makes steps (1 - dampening)/(1 - momentum) times as long in the end, but neither
    `l1_prox` nor `weight_decay`, which pass it by: at the minimum they weigh by so much less than
    `l1` and `l2`.

    Sources: Polyak 1964; Sutskever et al. 2013, "On the importance of initialization and momentum
    in deep learning".

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0])
    >>> state = fastopt.momentum_init(w)
    >>> for _ in range(2):
    ...     fastopt.momentum_step(w, np.array([1.0]), state, lr=0.1)
    >>> w, state
    (array([0.71]), MomentumState(step=2, buf=array([1.9])))
    """
    return _core.momentum_step(
        MomentumState, params, grads, state, lr, momentum, dampening, nesterov, options
    )


@document_step
def adam_step(
    params: Tree,
    grads: Tree,
    state: AdamState,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    epsilon_hat: bool = False,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | None:
    """Update `params` and `state` in place by one step of Adam.

    ::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        p -= lr/(1 - beta1**t) * m / (sqrt(v)/sqrt(1 - beta2**t) + eps)

    where ``t = state.step`` after the step, so 1 in the first one.

    Parameters
    ----------
    {ARRAYS}
    state : AdamState
        From :func:`adam_init`. ``m``, ``v`` and ``step`` are changed in place.
    lr : float, default 0.001, >= 0
        The learning rate.
    beta1, beta2 : float, defaults 0.9 and 0.999, in [0, 1)
        Decay rates of the running means of the gradient and of its square.
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    epsilon_hat : bool, default False
        Add `eps` to the uncorrected root, as Keras and scikit-learn do:
        ``p -= lr*sqrt(1 - beta2**t)/(1 - beta1**t) * m / (sqrt(v) + eps)``. Early in training
        this is a larger epsilon by ``1/sqrt(1 - beta2**t)``.
    {SCALED_PROX}
    {TERMS}

    Returns
    -------
    {RETURNS}

    Raises
    ------
    {RAISES}

    Notes
    -----
    The same as ``torch.optim.Adam`` (its ``weight_decay`` is `l2` here), and with `weight_decay` as
    ``torch.optim.AdamW``. With `epsilon_hat` as Keras (whose default ``epsilon`` is 1e-7),
    scikit-learn and thinc.

    Source: Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 1; for
    `epsilon_hat`, the end of its section 2.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> params = {"w": np.ones(2), "b": np.zeros(1)}
    >>> state = fastopt.adam_init(params)
    >>> grads = {"w": np.array([2.0, -3.0]), "b": np.array([0.5])}
    >>> fastopt.adam_step(params, grads, state, lr=0.1)
    >>> params
    {'w': array([0.9, 1.1]), 'b': array([-0.1])}
    """
    return _core.adam_step(
        AdamState, params, grads, state, lr, beta1, beta2, eps, epsilon_hat, scaled_prox, options
    )


@document_step
def rmsprop_step(
    params: Tree,
    grads: Tree,
    state: RMSpropState,
    *,
    lr: float = 1e-2,
    rho: float = 0.99,
    eps: float = 1e-8,
    eps_inside_sqrt: bool = False,
    momentum: float = 0.0,
    scaled_prox: bool = False,
    **options: Unpack[StepOptions],
) -> StepResult | None:
    """Update `params` and `state` in place by one step of RMSprop.

    ::

        v = rho*v + (1 - rho)*g**2
        d = sqrt(v) + eps                           (eps_inside_sqrt: d = sqrt(v + eps))
        p -= lr * g / d

    Where the state has ``avg`` (centered), the variance takes the place of ``v`` in ``d``::

        avg = rho*avg + (1 - rho)*g
        d = sqrt(max(v - avg**2, 0)) + eps

    Where the state has ``buf`` (momentum)::

        buf = momentum*buf + g / d
        p -= lr * buf

    Parameters
    ----------
    {ARRAYS}
    state : RMSpropState
        From :func:`rmsprop_init`, which decides whether the steps are centered and have momentum.
        ``v``, ``avg``, ``buf`` and ``step`` are changed in place.
    lr : float, default 0.01, >= 0
        The learning rate.
    rho : float, default 0.99, in [0, 1)
        Decay rate of the running means (torch's ``alpha``).
    eps : float, default 1e-8, >= 0
        Keeps the denominator from zero.
    eps_inside_sqrt : bool, default False
        Add `eps` before the root is taken, as Keras and optax do.
    momentum : float, default 0.0, in [0, 1]
        The share of ``buf`` that is kept. Not zero, it needs a state made with ``momentum=True``.
    {SCALED_PROX}
    {TERMS}

    Returns
    -------
    {RETURNS}

    Raises
    ------
    {RAISES}

    Notes
    -----
    The same as ``torch.optim.RMSprop``; with `eps_inside_sqrt` as Keras (whose defaults are
    ``rho=0.9, epsilon=1e-7``), apart from momentum, where Keras keeps the learning rate inside of
    the buffer.

    Sources: Tieleman & Hinton 2012, lecture 6.5; Graves 2013, "Generating sequences with recurrent
    neural networks", eq. 38-45 (centered).

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> w = np.array([1.0, 1.0])
    >>> state = fastopt.rmsprop_init(w)
    >>> fastopt.rmsprop_step(w, np.array([0.1, -10.0]), state, lr=0.01, rho=0.75)
    >>> w
    array([0.98, 1.02])
    """
    return _core.rmsprop_step(
        RMSpropState,
        params,
        grads,
        state,
        lr,
        rho,
        eps,
        eps_inside_sqrt,
        scaled_prox,
        momentum,
        options,
    )
