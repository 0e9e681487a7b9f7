"""A nested value as named arrays: its own arrays, and a JSON text that says how they hang together.

In the text null, booleans, strings, numbers and lists are what they are in JSON. All else is an
object of one entry, whose key says what it is::

    {"array": "params.w"}               the array of that name
    {"dict": [[key, value], ...]}       in order; keys are strings or integers
    {"tuple": [value, ...]}
    {"float": "nan"}                    "inf", "-inf": JSON has none of them
    {"int": "0x1234"}                   an integer of more than 64 bits
    {"scalar": ["float32", "0000803f"]} a NumPy scalar, its bytes in little-endian order

Nothing in it names code, so nothing that is read can run any.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from fastopt.checkpoint.files import Arrays
from fastopt.tree import Tree, as_array, children, is_dataclass_node, way

TEXT = "fastopt"
"""The name of the array that holds the text."""

MAX_DEPTH = 100
"""The kernels take no deeper trees either."""

DTYPES = {
    str(np.dtype(name)): np.dtype(name)
    for name in ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}
"""What both formats can hold."""

HELD = "arrays, numbers, strings, bools, None, and lists, tuples and dicts of these"


def to_arrays(contents: dict[str, Any]) -> Arrays:
    """Return the arrays in `contents` by their dotted names, and the text that orders them."""
    arrays: Arrays = {}
    tree = {
        root: _Writer(root, arrays).encode(value, root, root, 0) for root, value in contents.items()
    }
    text = json.dumps(tree, allow_nan=False, separators=(",", ":"))
    return {TEXT: np.frombuffer(text.encode("ascii"), np.uint8), **arrays}


def from_arrays(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents that :func:`to_arrays` was given; but for the text, with any arrays."""
    tree = json.loads(arrays[TEXT].tobytes())
    return {root: _decode(node, _of_root(root, arrays)) for root, node in tree.items()}


def root_of(name: str) -> str:
    """Return which part of the contents an array belongs to."""
    return name.partition(".")[0]


def _of_root(root: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if root_of(name) == root}


class _Writer:
    """Turns a value into JSON and gathers its arrays."""

    def __init__(self, root: str, arrays: Arrays) -> None:
        self.root = root
        self.arrays = arrays

    def encode(self, value: Any, path: str, name: str, depth: int) -> Any:
        """Return `value` as JSON. `path` is what messages call it, `name` what the file does."""
        if depth > MAX_DEPTH:
            raise ValueError(
                f"save: {self.root} is nested more than {MAX_DEPTH} deep; does it contain itself?"
            )
        # The parameters go back into containers that are there, so these may be of any subclass, or
        # dataclasses. Elsewhere the container comes back as well, and must be what it was.
        kind = container_of(value) if self.root == "params" else type(value)
        if kind is dict:
            entries = children(value) or ()
            return {"dict": [self._entry(value, item, path, name, depth) for item in entries]}
        if kind is list or kind is tuple:
            items = [
                self.encode(child, f"{path}[{i}]", f"{name}.{i}", depth + 1)
                for i, child in enumerate(value)
            ]
            return items if kind is list else {"tuple": items}
        if hasattr(type(value), "__dlpack__"):  # an array of NumPy's or another library's
            return {"array": self._keep(as_array("save", path, value), path, name)}
        if self.root == "params" and (value is not None or depth > 0):
            raise TypeError(f"save: {path} must be a NumPy array, not {type(value).__name__}")
        return _encode_leaf(value, path)

    def _entry(
        self, parent: Tree, item: tuple[Any, Any], path: str, name: str, depth: int
    ) -> list[Any]:
        key, value = item
        if type(key) is not str and type(key) is not int:
            raise TypeError(f"save: {path} has the key {key!r}; keys must be str or int")
        # Other programs see these names, so they are plain: no slash, no dot of the key's own.
        part = quote(str(key), safe="", errors="surrogatepass").replace(".", "%2E")
        return [
            _encode_leaf(key, path),
            self.encode(value, path + way(parent, key), f"{name}.{part}", depth + 1),
        ]

    def _keep(self, array: Any, path: str, name: str) -> str:
        if isinstance(array, (np.ma.MaskedArray, np.matrix)):
            kind = "masked array" if isinstance(array, np.ma.MaskedArray) else "matrix"
            raise TypeError(f"save: {path} must be a plain array, not a {kind}")
        if array.dtype not in DTYPES.values():
            raise TypeError(
                f"save: {path} has dtype {array.dtype}; a checkpoint holds {', '.join(DTYPES)}"
            )
        if len(name) > 250:
            name = f"{name[:200]}...{len(self.arrays)}"
        while name in self.arrays:  # of the keys 1 and "1"
            name += "'"
        self.arrays[name] = np.asarray(array, order="C")
        return name


def container_of(value: Any) -> type | None:
    """Return what is stored for a container: dict, list, tuple; of an array None.

    `value` may have inherited it. For dataclasses it is a dict with the names of their fields.
    """
    kind = next((kind for kind in (dict, list, tuple) if isinstance(value, kind)), None)
    return dict if kind is None and is_dataclass_node(value) else kind


def _encode_leaf(value: Any, path: str) -> Any:
    if isinstance(value, np.generic) and value.dtype in DTYPES.values():
        little = np.asarray(value).astype(value.dtype.newbyteorder("<"))
        return {"scalar": [str(value.dtype), little.tobytes().hex()]}
    kind = type(value)
    if kind is int and value.bit_length() > 64:
        return {"int": hex(value)}
    if kind is float and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or kind in {bool, int, float, str}:
        return value
    article = "an" if kind.__name__[:1] in "aeiouAEIOU" else "a"
    raise TypeError(f"save: {path} is {article} {kind.__name__}; a checkpoint holds {HELD}")


def _decode(node: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_decode(child, arrays) for child in node]
    if not isinstance(node, dict):
        return node
    [(tag, value)] = node.items()
    return _DECODERS[tag](value, arrays)


def _scalar(name: str, digits: str) -> Any:
    dtype = DTYPES[name]
    return np.frombuffer(bytes.fromhex(digits), dtype.newbyteorder("<")).astype(dtype)[0]


_DECODERS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "array": lambda name, arrays: arrays[name],
    "dict": lambda items, arrays: {_decode(k, arrays): _decode(v, arrays) for k, v in items},
    "tuple": lambda items, arrays: tuple(_decode(item, arrays) for item in items),
    "float": lambda text, _: float(text),
    "int": lambda text, _: int(text, 16),
    "scalar": lambda parts, _: _scalar(*parts),
}
