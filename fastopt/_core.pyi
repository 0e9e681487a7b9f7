"""The C++ core as Python sees it. Its tables of rules and options are what C++ declares."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, final

from typing_extensions import disjoint_base

from fastopt.result import StepResult

class Rule(NamedTuple):
    options: dict[str, str]
    """Their ranges."""
    factors: list[str]
    """What of the state are means of rows and of columns."""
    arrays: dict[str, bool]
    """Whether these may be None."""
    numbers: dict[str, float]
    """Where they begin."""
    step: Callable[..., StepResult | None]
    """Takes the class of the state, params, grads, state, the options in their order, and a dict of
    all others."""
    sums: int
    """How many it wants of an array before its step."""
    only_read: str | None
    """Which of the arrays a step leaves as it is."""

rules: dict[str, Rule]
term_defaults: dict[str, Any]
shared_defaults: dict[str, Any]
object_defaults: dict[str, Any]
c_functions: Any
"""A capsule with the table of fastopt.h."""
c_capsules: dict[str, Any]
"""Each of its functions in a capsule, named as its signature in C."""

def use_classes(step_result: type, dropout: type) -> None: ...
def use_orthogonalizer(orthogonalize: Callable[[Any, list[Any]], None]) -> None: ...
def use_other_names(instead_of: Callable[[str | None, str], str]) -> None: ...
def instead_of(rule: str | None, name: str) -> str: ...

@final
class ArrayCounts:
    """The updates that each array of a group has seen, where they differ; a tuple, when copied."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: int, /) -> int: ...
    def __iter__(self) -> Iterator[int]: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __lt__(self, other: object, /) -> bool: ...
    def __le__(self, other: object, /) -> bool: ...
    def __gt__(self, other: object, /) -> bool: ...
    def __ge__(self, other: object, /) -> bool: ...

class StepCount:
    steps: int
    def __init__(self) -> None: ...

@disjoint_base
class Options:
    """A mapping with fixed keys; `rule` is None for the options that all groups have in common."""

    _place: str
    def __init__(
        self,
        owner: str,
        place: str,
        rule: str | None,
        values: dict[str, Any],
        count: StepCount,
        lacking: Sequence[str],
    ) -> None: ...
    def __getitem__(self, key: str, /) -> Any: ...
    def __setitem__(self, key: str, value: Any, /) -> None: ...
    def __delitem__(self, key: str, /) -> None: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def _set_all(self, values: dict[str, Any], /) -> None: ...
    def _check(self, values: dict[str, Any], /) -> None: ...

def as_number(owner: str, name: str, given: object, /) -> float: ...
def as_int(owner: str, name: str, given: object, /) -> int: ...

class _Turn:
    """While it is held, no other call of the optimizer can be made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __enter__(self) -> _Turn: ...
    def __exit__(self, *args: Any) -> None: ...
    def step(self, plan: Plan, arguments: tuple[Any, ...]) -> StepResult | None: ...

class Plan:
    """What makes the steps of an optimizer: it knows the arrays, and reads the options."""

    ema_weights: list[float]
    """Of the average of each entry, for those that are free of their start."""
    @property
    def params(self) -> Any: ...
    frozen: list[int]
    """1 for each entry that is frozen besides those of frozen groups; empty if there is none."""
    def __init__(
        self,
        rule: str,
        owner: str,
        params: Any,
        group_of_entry: Sequence[int],
        groups: Sequence[Options],
        shared: Options,
        states: Sequence[Any],
        averages: Sequence[Any] | None,
        average_tree: Any,
        count: StepCount,
        ema_weights: Sequence[float],
    ) -> None: ...
    @property
    def step(self) -> Callable[..., StepResult | None]:
        """Takes grads, grad_scale, mask, keep_prob, update_mask, a dict of further numbers, params.

        It does nothing and returns NotImplemented if it has not these params.
        """
    @property
    def accumulate(self) -> Callable[[Any, float, bool | str], StepResult | None]:
        """Takes grads, their weight and `skip_nonfinite`."""
    def use_sums(
        self,
        tree: Any,
        count: int,
        weight: float,
        skipped: int,
        has: Sequence[int],
        frozen: Sequence[int],
    ) -> None: ...
    @property
    def added(self) -> tuple[int, float, int, list[int], list[int]]:
        """What `use_sums` takes besides the tree."""
    def discard_sums(self, function: str) -> None: ...
    def turn(self, function: str) -> _Turn: ...
    def swap_in(self, function: str, token: object, arrays: Sequence[Any], what: str) -> None:
        """Puts arrays in place of the parameters; the caller has a turn."""
    def swap_back(self, function: str, token: object) -> None:
        """Does nothing unless they were swapped with this token."""
    @property
    def waiting(self) -> int: ...
    def check_not_swapped(self, function: str) -> None: ...

def told() -> dict[str, Any]: ...
def global_norm(grads: Any, threads: int | None) -> tuple[float, str | None]: ...
def penalty(params: Any, l1_name: str, l1: Any, l2: Any, threads: int | None) -> float: ...
def count_zeros(params: Any, threads: int | None) -> list[int]: ...
def max_norm(
    arrays: list[Any], vector_axes: Sequence[int], limit: float, threads: int | None
) -> None: ...
def advance_means(
    function: str,
    name: str,
    means: Any,
    name_of_values: str,
    values: Any,
    beta2: float,
    left_out: Sequence[int],
    skip_nonfinite: bool | str,
    threads: int | None,
) -> StepResult | None:
    """Lets means of a state take over new values, where these are not None."""

def dropout(
    function: str,
    name: str,
    x: Any,
    p: float,
    seed: int,
    offset: int,
    out_name: str,
    out: Any,
    mask: Any,
    mask_out: Any,
    threads: int | None,
) -> None: ...
def dropout_mask(
    out: Any, elements: int, p: float, seed: int, offset: int, packed: bool, threads: int | None
) -> None: ...
def check_dropout(function: str, p: float, seed: int, offset: int) -> None: ...
def check_params(function: str, params: Any) -> None: ...
def matched(
    function: str, params: Any, name: str, tree: Any, prefix: bool = False
) -> list[Any]: ...
def as_array(function: str, name: str, leaf: Any) -> Any: ...
def zeros_like(function: str, params: Any) -> list[Any]: ...
def memory_probe(params: Any, grads: Any, states: tuple[Any, ...], threads: int) -> None: ...
def read_probe(params: Any, others: tuple[Any, ...], threads: int) -> None: ...
def copy_probe(to: Any, from_: Any, threads: int) -> None: ...
def isa() -> str: ...
def available_isas() -> list[str]: ...
def select_isa(name: str) -> None: ...

max_threads: int

def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def compiler() -> str: ...
