"""The functions of ``fastopt.h`` for what calls functions of Cython: Numba, SciPy.

::

    address = numba.extending.get_cython_function_address("fastopt.cython_api", "update")
    update = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ...)(address)
    scipy.LowLevelCallable.from_cython(fastopt.cython_api, "update")

They are described in ``fastopt.h``, in the folder that `fastopt.get_include` names; Cython itself
has them by ``cimport fastopt``. Signatures may be added, and stay as they are.

Examples
--------
>>> from fastopt import cython_api
>>> cython_api.__pyx_capi__["find_rule"]  # doctest: +ELLIPSIS
<capsule object "int (char const *)" at 0x...>
"""

from fastopt import _core

__pyx_capi__ = _core.c_capsules
