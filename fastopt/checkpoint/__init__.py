"""Parameters, optimizer and all else that a run needs to go on, in one file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from typing import Any, Literal, Protocol, overload

from fastopt.checkpoint.document import from_arrays, root_of, to_arrays
from fastopt.checkpoint.files import Read, Source, choose_format, open_arrays, write_arrays
from fastopt.checkpoint.replace import replace_file
from fastopt.checkpoint.restore import Entry, copy, match, match_by_name
from fastopt.optimizers import Optimizer
from fastopt.optimizers.stored import Stored
from fastopt.result import Loaded
from fastopt.tree import Tree, arrays_of

__all__ = ["load", "read", "save"]

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

FORGED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the structure of a file can bring about that save did not write."""


class Stateful(Protocol):
    """An optimizer, or whatever else has these two methods."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> object: ...


def save(
    path: Path, *, params: Tree | None = None, optimizer: Stateful | None = None, extra: Any = None
) -> None:
    """Write a checkpoint: `params`, the state of `optimizer`, and `extra`, in one file.

    A crash at any moment, of the program or of the machine, leaves the file that was there or the
    whole new one.

    Parameters
    ----------
    path : str or path
        Where to. A name in ``.npz`` is written as ``np.savez`` does, one in ``.safetensors`` by the
        package of this name (``pip install 'fastopt[safetensors]'``). With any other name, as
        safetensors if the package is installed, and else as ``.npz``; nothing is appended to the
        name, and :func:`load` looks at the content alone. A file that is there is replaced, and
        its permissions are kept; a link stays, and the file that it points to is replaced.
    params : array, or nested lists, tuples, dicts and dataclass instances of arrays, or None
        The parameters. A dataclass is stored as a dict with the names of its fields.
    optimizer : object with ``state_dict()`` and ``load_state_dict(state)``, or None
        The optimizer, of which ``state_dict()`` is saved.
    extra : nested lists, tuples and dicts, default None
        Anything else: epoch, metrics, ``scaler.state_dict()``, ``drop.state_dict()``, the
        ``bit_generator.state`` of a random generator.

    Raises
    ------
    TypeError, ValueError
        If something cannot be stored, by its name: besides arrays a checkpoint holds numbers,
        strings, bools, None, and lists, tuples and dicts (not their subclasses) with keys of
        str or int. Arrays and NumPy scalars are of bool, int8 to int64, uint8 to uint64, float16,
        float32 or float64, in native byte order.
    ImportError
        If `path` ends in ``.safetensors`` and the package is not installed.
    OSError
        If the file cannot be written: no such folder, no permission, disk full. The old file is
        still there then.

    Notes
    -----
    What is stored comes back exactly, with its type: integers of any size, NaN, infinities, -0.0,
    tuples, NumPy scalars, arrays of any layout (in C order). No pickle is involved.

    The file is made in a folder ``.NAME.RANDOM.tmp`` beside `path`, forced to the disk and then
    moved. The folder is removed, also after an error. Only a process that is killed can leave one
    behind: it is in nobody's way, and may be deleted.

    Other programs can read the arrays, under names such as ``params.layer1.w``.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, fastopt.checkpoint
    >>> params = {"w": np.array([1.0, 2.0]), "b": np.zeros(1)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "checkpoint.npz")
    ...     fastopt.checkpoint.save(path, params=params, extra={"epoch": 3})
    ...     params["w"][:] = 0
    ...     print(fastopt.checkpoint.load(path, params=params), params["w"])
    {'epoch': 3} [1. 2.]
    """
    target = _name("save", path)
    file_format = choose_format(target)
    _check_optimizer("save", optimizer)
    state = None if optimizer is None else optimizer.state_dict()
    if optimizer is not None and type(state) is not dict:
        kind = type(state).__name__
        raise TypeError(f"save: optimizer.state_dict() must return a dict, not {kind}")
    arrays = to_arrays({"params": params, "optimizer": state, "extra": extra})
    replace_file(target, lambda made: write_arrays(made, arrays, file_format))


@overload
def load(
    path: Path,
    *,
    params: Tree | None = None,
    optimizer: Stateful | None = None,
    options: Literal["saved", "keep"] = "saved",
    strict: Literal[True] = True,
) -> Any: ...
@overload
def load(
    path: Path,
    *,
    params: Tree | None = None,
    optimizer: Stateful | None = None,
    options: Literal["saved", "keep"] = "saved",
    strict: Literal[False],
) -> Loaded: ...
@overload
def load(
    path: Path,
    *,
    params: Tree | None = None,
    optimizer: Stateful | None = None,
    options: Literal["saved", "keep"] = "saved",
    strict: bool,
) -> Any: ...
def load(
    path: Path,
    *,
    params: Tree | None = None,
    optimizer: Stateful | None = None,
    options: Literal["saved", "keep"] = "saved",
    strict: bool = True,
) -> Any:
    """Read a checkpoint into `params` and `optimizer`, in place, and return its `extra`.

    All or nothing: if something does not fit, neither `params` nor `optimizer` has changed.

    Parameters
    ----------
    path : str or path
        A file that :func:`save` wrote. Its format is seen from its content, not from its name.
    params : array, or nested lists, tuples, dicts and dataclass instances of arrays, or None
        Where the parameters go. Structure, shapes and dtypes must be those of the file, where a
        dataclass is a dict. With None the parameters in the file are left there.
    optimizer : object with ``state_dict()`` and ``load_state_dict(state)``, or None
        Receives what its ``state_dict()`` was. With None the state in the file is left there.
    options : "saved" or "keep", default "saved"
        Whose options an optimizer of fastopt has then: those of the file, which a warning names
        where they differ, or its own. See :meth:`fastopt.Optimizer.load_state_dict`.
    strict : bool, default True
        With False, parameters and optimizer take by their dotted names what fits, and the rest
        stays as it is: for a model that has grown or been cut.

    Returns
    -------
    object
        The `extra` that was saved, with fresh arrays. With ``strict=False`` a
        :class:`~fastopt.Loaded`, which has it as ``extra``, and the names of what was ``missing``
        and ``left_over``, such as ``params.layer1.w`` and ``optimizer.layer1.w``.

    Raises
    ------
    ValueError
        If the file is no checkpoint, of another version of the format, cut short or damaged: a
        checksum covers each of its bytes. If it has no parameters or no optimizer and these are
        asked for. If `params` have another structure, shape or dtype, are read-only, or overlap in
        memory. What ``optimizer.load_state_dict`` raises is passed on.
    TypeError
        If an entry of `params` is not an array.
    ImportError
        If the file is in the format of safetensors and the package is not installed.
    OSError
        If the file cannot be read.
    RuntimeError
        If it could be read once, and not again: see below.

    Notes
    -----
    Reading runs no code from the file. The checksum is one against damage: it does not prove who
    wrote a file.

    Arrays are read one by one, into those that are there: besides them, memory is needed for the
    largest. They are read twice: first all of them, with all checks, before anything is changed. If
    the file cannot be read any more when they are read again (a disk that fails, a file that is
    written to meanwhile), a RuntimeError says that a part has been loaded; no copy is kept of what
    was there. A file that :func:`save` replaces meanwhile does no harm. An optimizer of another
    library gets its state whole.

    `optimizer` must itself take a state entirely or not at all, as those of fastopt do. Averages
    that it keeps and the file has not begin as copies of the parameters of the file. A warning
    says where `params` are not the arrays of an optimizer of fastopt.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, fastopt.checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "checkpoint.npz")
    ...     fastopt.checkpoint.save(path, params={"w": np.ones((4, 3))})
    ...     fastopt.checkpoint.load(path, params={"w": np.zeros((3, 4))})
    Traceback (most recent call last):
      ...
    ValueError: load: params['w'] has shape (3, 4), the file has (4, 3)
    """
    _check_optimizer("load", optimizer)
    source = Source("load", _name("load", path))
    # Other optimizers take arrays; these are read one by one, when all is checked.
    later = {"params": params is not None, "optimizer": isinstance(optimizer, Optimizer)}
    with open_arrays(source) as reads:
        contents = _contents(source, reads, [root for root in later if later[root]])
        return _load(source, contents, params, optimizer, options, strict)


def _load(
    source: Source,
    contents: dict[str, Any],
    params: Tree | None,
    optimizer: Stateful | None,
    options: Literal["saved", "keep"],
    strict: bool,
) -> Any:
    for name, wanted in (("params", params), ("optimizer", optimizer)):
        if wanted is not None and contents[name] is None:
            raise source.error(f"has no {name}")
    missing: list[str] = []
    left_over: list[str] = []
    entries: list[Entry] = []
    if params is not None and strict:
        entries = match(params, contents["params"])
    elif params is not None:
        entries, *names = match_by_name(params, contents["params"])
        missing, left_over = ([f"params.{name}" for name in each] for each in names)
    if isinstance(optimizer, Optimizer):
        if params is not None:
            _warn_of_other_arrays(params, optimizer)
        loaded = optimizer.load_state_dict(contents["optimizer"], options=options, strict=strict)
        if loaded is not None:
            missing += [f"optimizer.{name}" for name in loaded.missing]
            left_over += [f"optimizer.{name}" for name in loaded.left_over]
    elif optimizer is not None:
        if options != "saved" or not strict:
            kind = type(optimizer).__name__
            raise TypeError(f"load: options and strict are for optimizers of fastopt, not {kind}")
        optimizer.load_state_dict(contents["optimizer"])
    copy(entries, begun=optimizer is not None)
    if (
        isinstance(optimizer, Optimizer)
        and optimizer.ema is not None
        and contents["optimizer"]["ema"] is None
    ):
        optimizer.reset_averages()  # of the parameters that have just been loaded
    extra = contents["extra"]
    return extra if strict else Loaded(tuple(missing), tuple(left_over), extra)


def _warn_of_other_arrays(params: Tree, optimizer: Optimizer) -> None:
    """Say where the parameters that are loaded are not those that the optimizer will change."""
    given = {id(array) for array in arrays_of(params)}
    for group in optimizer.groups:
        for name, array in zip(group.names, group.params, strict=True):
            if id(array) not in given:
                warnings.warn(
                    f"load: the optimizer has another array {name!r} than params, which its steps "
                    "do not change then; optimizer.params = params takes them over",
                    stacklevel=4,
                )
                return


def read(path: Path) -> dict[str, Any]:
    """Return all that is in a checkpoint, with fresh arrays: params, optimizer and extra.

    Parameters
    ----------
    path : str or path
        A file that :func:`save` wrote.

    Returns
    -------
    dict
        ``{"params": ..., "optimizer": ..., "extra": ...}``, with None for what was not saved.

    Raises
    ------
    ValueError, ImportError, OSError
        As :func:`load`.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, fastopt.checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "checkpoint.npz")
    ...     fastopt.checkpoint.save(path, params=[np.zeros(2)], extra="first")
    ...     fastopt.checkpoint.read(path)
    {'params': [array([0., 0.])], 'optimizer': None, 'extra': 'first'}
    """
    source = Source("read", _name("read", path))
    with open_arrays(source) as reads:
        return _contents(source, reads, ())


def _contents(source: Source, reads: dict[str, Read], later: Collection[str]) -> dict[str, Any]:
    """Return what is in a file; the arrays of some parts are read once, and later again."""
    arrays = {
        name: Stored(read) if root_of(name) in later else read() for name, read in reads.items()
    }
    try:
        contents = from_arrays(arrays)
        return {name: contents[name] for name in ("params", "optimizer", "extra")}
    except FORGED as error:
        raise source.damaged("its structure cannot be understood") from error


def _name(function: str, path: Path) -> str:
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{function}: path must be a str or a path, not {type(path).__name__}")
    return os.fsdecode(path)


def _check_optimizer(function: str, optimizer: Any) -> None:
    for method in ("state_dict", "load_state_dict"):
        if optimizer is not None and not callable(getattr(optimizer, method, None)):
            kind = type(optimizer).__name__
            raise TypeError(f"{function}: optimizer must have {method}(), and a {kind} has not")
