"""The functions of fastopt.h as Python can call them, by ctypes, and an optimizer made of them."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from cases import Case

from fastopt import cython_api

OK, SKIPPED, REFUSED = 0, 1, -1
DTYPES = {np.dtype(np.float32): 0, np.dtype(np.float64): 1}
MASKS = {"mask": 0, "update_mask": 1}
PENALTIES = ("l1", "l2", "weight_decay", "l1_prox")

api = ctypes.pythonapi
api.PyCapsule_GetName.restype = ctypes.c_char_p
api.PyCapsule_GetName.argtypes = [ctypes.py_object]
api.PyCapsule_GetPointer.restype = ctypes.c_void_p
api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def ctype(text: str) -> Any:
    if text == "char const *":
        return ctypes.c_char_p
    if text.endswith("*"):
        return ctypes.c_void_p
    names = {
        "int": ctypes.c_int,
        "double": ctypes.c_double,
        "int64_t": ctypes.c_int64,
        "uint64_t": ctypes.c_uint64,
        "void": None,
    }
    return names[text]


def signature(name: str) -> str:
    found: bytes = api.PyCapsule_GetName(cython_api.__pyx_capi__[name])
    return found.decode()


class Functions:
    """All of them, by their names."""

    def __getattr__(self, name: str) -> Any:
        text = signature(name)
        match = re.fullmatch(r"(.+) \((.*)\)", text)
        assert match
        arguments = [] if match[2] == "void" else [ctype(part) for part in match[2].split(", ")]
        kind = ctypes.CFUNCTYPE(ctype(match[1]), *arguments)
        address = api.PyCapsule_GetPointer(cython_api.__pyx_capi__[name], text.encode())
        function = kind(address)
        setattr(self, name, function)
        return function


functions = Functions()


def message() -> str:
    text: bytes = functions.message()
    return text.decode()


def rule_number(name: str) -> int:
    return int(functions.find_rule(name.encode()))


def names_of(what: str, rule: int) -> list[str]:
    """Return the names of all options, arrays or scalars of a rule."""
    names: list[str] = []
    while found := getattr(functions, f"{what}_name")(rule, len(names)):
        names.append(found.decode())
    return names


def address(array: Any) -> int | None:
    return None if array is None else array.ctypes.data


def pointers(arrays: Sequence[Any]) -> Any:
    return (ctypes.c_void_p * max(len(arrays), 1))(*map(address, arrays))


def options_of(case: Case) -> np.ndarray[Any, Any]:
    rule = rule_number(case.rule)
    defaults = {
        name: functions.option_default(rule, i) for i, name in enumerate(names_of("option", rule))
    }
    given = {name: value for name, value in case.options.items() if name in defaults}
    return np.array(list((defaults | given).values()), np.float64)


def arrays_in(state: Any, rule: int, i: int | None = None) -> list[Any]:
    """Return the arrays of a state, None for those that it leaves out; or their entries i."""
    trees = [getattr(state, name) for name in names_of("array", rule)]
    return [tree if tree is None or i is None else tree[i] for tree in trees]


def trees_of_numbers(state: Any, rule: int) -> list[Any]:
    return [getattr(state, name) for name in names_of("scalar", rule)] if state is not None else []


def all_in(state: Any, params: Sequence[Any]) -> list[Any]:
    """Return all arrays and numbers of a state, but the numbers of arrays that C has not: empty."""
    trees = [] if state is None else [getattr(state, name) for name in type(state).__slots__[1:]]
    return [
        array
        for tree in trees
        if tree is not None
        for array, p in zip(tree, params, strict=True)
        if p.size or array.shape == p.shape
    ]


class Numbers:
    """The numbers of a state side by side, as C has them; they go back where they came from."""

    def __init__(self, state: Any, rule: int) -> None:
        self.trees = trees_of_numbers(state, rule)
        self.values = np.array([float(tree) for tree in self.trees])

    def put_back(self) -> None:
        for tree, value in zip(self.trees, self.values, strict=True):
            tree[...] = value


class COptimizer:
    """A fastopt_optimizer with lists of arrays, of which Python's functions take the same."""

    def __init__(self, case: Case, params: Sequence[Any], state: Any) -> None:
        self.case, self.params, self.held = case, params, [params, state]
        self.rule = rule_number(case.rule)
        made = ctypes.c_void_p()
        dtype = DTYPES[params[0].dtype]
        assert functions.new_optimizer(self.rule, dtype, len(params), ctypes.byref(made)) == OK
        self.handle = made.value
        for i, p in enumerate(params):
            own = arrays_in(state, self.rule, i) if state is not None else []
            self.call("set_array", i, p.size, address(p), pointers(own))
        self.numbers = trees_of_numbers(state, self.rule)
        for k, tree in enumerate(self.numbers):
            for i, number in enumerate(tree):
                self.call("set_scalar_of", i, k, float(number))
        for name, value in case.options.items():
            self.set(name, value)

    def __del__(self) -> None:
        functions.free_optimizer(self.handle)

    def call(self, name: str, *arguments: Any) -> int:
        code = getattr(functions, name)(self.handle, *arguments)
        if code == REFUSED:
            raise ValueError(message())
        return int(code)

    def number(self, name: str) -> int:
        return int(functions.find_option(self.handle, name.encode()))

    def set(self, name: str, value: float) -> None:
        self.call("set_option", self.number(name), float(value))

    def set_terms(self, terms: dict[str, Any]) -> None:
        """Take terms as Python's steps do."""
        for name, given in terms.items():
            if name in MASKS:
                for i, (p, mask) in enumerate(zip(self.params, given, strict=True)):
                    packed = mask is not None and mask.dtype == np.uint8 and mask.shape != p.shape
                    self.call("set_mask", i, MASKS[name], address(mask), packed)
            elif name == "ema":
                for i, average in enumerate(given):
                    self.call("set_average", i, address(average))
            elif name == "drop":
                self.call("set_drop", given.p, given.seed, given.offset)
            elif name in PENALTIES and isinstance(given, list):
                for i, value in enumerate(given):
                    self.call("set_penalty", i, self.number(name), float(value))
            else:
                self.set(name, given)
        self.held.append(terms)

    def step(self, grads: Sequence[Any], check: bool = True) -> int:
        given = pointers(grads)
        if check:
            self.call("check_step", given)
        code = self.call("step", given)
        for k, tree in enumerate(self.numbers):
            for i, number in enumerate(tree):
                number[...] = functions.get_scalar_of(self.handle, i, k)
        return code
