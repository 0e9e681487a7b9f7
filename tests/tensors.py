"""Tensors of other libraries, made of NumPy arrays: with DLPack's table for C, and without."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar

import numpy as np

CPU, GPU, READ_ONLY = 1, 2, 1
LENDS_TO_WRITE = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
"""Whether numpy.from_dlpack makes views that may be written."""
CODES = {"f": 2, "u": 1, "b": 6, "i": 0}


Lengths = ctypes.POINTER(ctypes.c_int64)


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", Lengths),
        ("strides", Lengths),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    pass


Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(Managed))
Managed._fields_ = (
    ("major", ctypes.c_uint32),
    ("minor", ctypes.c_uint32),
    ("manager", ctypes.c_void_p),
    ("deleter", Deleter),
    ("flags", ctypes.c_uint64),
    ("tensor", DLTensor),
)
Read = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(DLTensor))
Manage = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(ctypes.c_void_p))


class Table(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("previous", ctypes.c_void_p),
        ("allocate", ctypes.c_void_p),
        ("manage", Manage),
        ("to_object", ctypes.c_void_p),
        ("read", Read),
        ("stream", ctypes.c_void_p),
    )


class SlowTensor:
    """One whose class has no table."""

    device = "cpu"

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Tensor(SlowTensor):
    """One whose class has it. Attributes say how it differs from a plain one."""

    held: ClassVar[dict[int, Any]] = {}
    """What was lent and not yet given back."""

    def __init__(self, array: Any, **differs: Any) -> None:
        super().__init__(array)
        self.differs = differs

    def fill(self, to: DLTensor) -> None:
        array, differs = self.array, self.differs
        self.extents = tuple(
            (ctypes.c_int64 * array.ndim)(*values)
            for values in (array.shape, [s // array.itemsize for s in array.strides])
        )
        to.data = None if differs.get("no_memory") else array.ctypes.data - 8
        to.byte_offset = 8
        to.device_type = differs.get("device_type", CPU)
        to.ndim, to.lanes = array.ndim, 1
        to.code, to.bits = differs.get("dtype", (CODES[array.dtype.kind], 8 * array.itemsize))
        to.shape, to.strides = (ctypes.cast(extent, Lengths) for extent in self.extents)


@Read
def read(tensor: Any, to: Any) -> int:
    tensor.fill(to[0])
    return 0


@Deleter
def give_back(managed: Any) -> None:
    del Tensor.held[ctypes.addressof(managed.contents)]


@Manage
def manage(tensor: Any, to: Any) -> int:
    managed = Managed(1, 1, None, give_back, READ_ONLY if tensor.differs.get("read_only") else 0)
    tensor.fill(managed.tensor)
    address = ctypes.addressof(managed)
    Tensor.held[address] = managed, tensor.array, tensor.extents
    to[0] = address
    return 0


TABLE = Table(1, 3, None, None, manage, None, read, None)
NAME = b"dlpack_exchange_api"
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype, new_capsule.argtypes = (
    ctypes.py_object,
    (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
)
Tensor.__dlpack_c_exchange_api__ = new_capsule(ctypes.addressof(TABLE), NAME, None)  # type: ignore[attr-defined]
