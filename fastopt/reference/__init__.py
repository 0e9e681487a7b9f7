"""The steps in plain NumPy: the specification, to be read as a textbook.

Every function here has the name, the signature and the effect of the one in :mod:`fastopt`, whose
kernels equal it bit for bit (NaNs compare equal). The formula of each rule stands beside its step
in ``fastopt/rules``; what all steps do around it is in ``fastopt/reference/terms.py``. Nothing is
checked here; the kernels' functions check their arguments. Four conventions hold throughout:

- Arithmetic on elements is done in the dtype of the parameter, operation by operation, in the order
  written; norms and penalties are sums in double precision.
- Hyper-parameters and bias corrections are computed in double precision and rounded to that dtype
  once, by ``T(...)`` in the formulas.
- A term whose coefficient is zero is absent (0 * inf must not make NaN).
- What does not stay is not kept: an element of a state or of ``ema`` whose magnitude is below the
  smallest normal number of its dtype becomes +0 as it is stored, after the rule has used it.

``flush_denormals`` is the one option that this module does not follow: it lets the kernels deviate
from the formula, for speed.
"""

from typing import Any

from fastopt import rules
from fastopt.reference.dropout import dropout, dropout_backward, dropout_mask
from fastopt.reference.norms import global_norm, max_norm, penalty
from fastopt.reference.steps import STEPS

_OF_RULES = {
    **STEPS,
    **{rule.init.__name__: rule.init for rule in rules.RULES.values() if rule.init},
}


def __getattr__(name: str) -> Any:
    try:
        return _OF_RULES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return [*globals(), *_OF_RULES]


__all__ = [
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "global_norm",
    "max_norm",
    "penalty",
]
__all__.extend(_OF_RULES)
