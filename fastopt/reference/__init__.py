"""The steps in plain NumPy: the specification, to be read as a textbook.

Every function here has the name, the signature and the effect of the one in :mod:`fastopt`, whose
kernels equal it bit for bit (NaNs compare equal). Nothing is checked here; the kernels' functions
check their arguments. Three conventions hold throughout:

- Arithmetic on elements is done in the dtype of the parameter, operation by operation, in the order
  written; norms and penalties are sums in double precision.
- Hyper-parameters and bias corrections are computed in double precision and rounded to that dtype
  once, by ``T(...)`` below.
- A term whose coefficient is zero is absent (0 * inf must not make NaN).

``flush_denormals`` is the one option that this module does not follow: it lets the kernels deviate
from the formula, for speed.
"""

from fastopt.reference.dropout import dropout, dropout_backward, dropout_mask
from fastopt.reference.norms import global_norm
from fastopt.reference.regularization import max_norm, penalty
from fastopt.reference.steps import adam_step, momentum_step, rmsprop_step, sgd_step
from fastopt.state import adam_init, momentum_init, rmsprop_init

__all__ = [
    "adam_init",
    "adam_step",
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "global_norm",
    "max_norm",
    "momentum_init",
    "momentum_step",
    "penalty",
    "rmsprop_init",
    "rmsprop_step",
    "sgd_step",
]
