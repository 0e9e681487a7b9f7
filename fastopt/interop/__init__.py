"""The states of other libraries' optimizers, and back: training goes on where it stood.

Parameters are not in the state of an optimizer, here or there. They move by themselves, for example
as ``{name: p.detach().numpy() for name, p in model.named_parameters()}``.

Nothing here imports another library but :func:`to_torch_state`, when it is called.
"""

from fastopt.interop.keras_variables import from_keras_variables, to_keras_variables
from fastopt.interop.torch_states import from_torch_state, to_torch_state

__all__ = [
    "from_keras_variables",
    "from_torch_state",
    "to_keras_variables",
    "to_torch_state",
]
