"""A group of an optimizer: some of the parameters, their options and their state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, overload

from fastopt import _core
from fastopt.optimizers.options import Options
from fastopt.optimizers.state_checks import checked_count

Arrays = tuple[Any, ...]


class Group(Options):
    """Some of the parameters, with options of their own: ``group["lr"] = 1e-4``.

    Attributes
    ----------
    names : tuple of str
        The dotted names of its arrays.
    params : tuple of arrays
        The arrays, in that order.
    patterns : tuple of str
        The patterns of :func:`fastopt.groups` that these names match.
    state
        The state of the functional step, such as :class:`fastopt.AdamState`, or None. Its arrays
        are tuples in the order of `names`; of a group with a single array they are arrays. Change
        them in place, do not replace them. ``state.step`` counts the updates; where the arrays have
        seen unequally many, it looks like a tuple with one count for each; set it to an int or a
        tuple.
    """

    def __init__(
        self,
        owner: str,
        numbered: tuple[int, int],
        rule: str,
        values: Mapping[str, Any],
        count: _core.StepCount,
        entries: Iterable[tuple[str, Any]],
        state: Any,
        patterns: tuple[str, ...],
    ) -> None:
        has = _core.rules[rule]
        slots = (*has.factors, *has.arrays, *has.numbers)
        lacking = [name for name in slots if getattr(state, name) is None]
        place = _place(*numbered)
        super(Options, self).__init__(owner, place, rule, dict(values), count, lacking)
        self._owner, self._slots, self._state, self._patterns = owner, slots, state, patterns
        self._hold(entries)
        self._number(*numbered)

    def _hold(self, entries: Iterable[tuple[str, Any]]) -> None:
        self._entries = tuple(entries)

    def _number(self, number: int, groups: int) -> None:
        """Say which of how many groups it is: messages name it where there are several."""
        self._count = (number, groups)
        self._written = f"opt.groups[{number}]"
        self._place = _place(number, groups)

    def _numbered(self) -> tuple[int, int]:
        return self._count

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._entries)

    @property
    def params(self) -> Arrays:
        return tuple(array for _, array in self._entries)

    @property
    def patterns(self) -> tuple[str, ...]:
        return self._patterns

    @property
    def state(self) -> Any:
        return self._state

    def _arrays(self) -> dict[str, Arrays | None]:
        """Return what the state has besides its count."""
        held = {name: getattr(self._state, name) for name in self._slots}
        return {k: v if v is None or isinstance(v, tuple) else (v,) for k, v in held.items()}

    def _named_arrays(self, slot: str) -> dict[str, Any]:
        """Return the arrays that the state has under one name, by the names of their entries."""
        return dict(zip(self.names, self._arrays()[slot] or (), strict=True))

    def _steps(self) -> list[int]:
        """Return how many updates each array has seen."""
        step = 0 if self._state is None else self._state.step
        each = tuple(step) if isinstance(step, COUNTS) else (step,) * len(self._entries)
        if len(each) != len(self._entries):
            raise ValueError(
                f"{self._owner}: {self._written}.state.step has {len(each)} counts for "
                f"{len(self._entries)} arrays"
            )
        place = f"{self._written}.state.step"
        return [checked_count(self._owner, place, count) for count in each]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.names)}: {dict(self)!r})"

    def _saved(self) -> dict[str, Any]:
        """Return its options and state, under names."""
        steps = self._steps()
        return {
            "names": list(self.names),
            "options": super()._saved(),
            "step": None if self._state is None else one_or_named(self.names, steps),
            "state": {
                name: None if arrays is None else dict(zip(self.names, arrays, strict=True))
                for name, arrays in self._arrays().items()
            },
        }


def _place(number: int, groups: int) -> str:
    return f"groups[{number}]" if groups > 1 else ""


def one_or_all(arrays: Iterable[Any]) -> Any:
    """Return arrays of a group as its state has them: of a single one, that."""
    found = tuple(arrays)
    return found[0] if len(found) == 1 else found


COUNTS = (tuple, _core.ArrayCounts)
"""What ``state.step`` may be where it differs from array to array: steps make the second."""


def one_or_each(steps: Iterable[int]) -> int | tuple[int, ...]:
    """Return counts as a state has them: one, where all arrays agree."""
    found = tuple(steps)
    return found[0] if len(set(found)) == 1 else found or 0


def one_or_named(names: Iterable[str], values: Iterable[Any]) -> Any:
    """Return one value for all names if they agree, else each under its name."""
    named = dict(zip(names, values, strict=True))
    found = set(named.values())
    return found.pop() if len(found) == 1 else named


class Groups(tuple[Group, ...]):
    """The groups of an optimizer: by their number, or by one of their patterns.

    ``opt.groups["*.bias"]`` is the group whose names match this pattern of :func:`fastopt.groups`;
    where several do, their options can be set together.
    """

    __slots__ = ()

    @overload  # type: ignore[override]
    def __getitem__(self, key: slice) -> tuple[Group, ...]: ...
    @overload
    def __getitem__(self, key: str) -> Group | SeveralGroups: ...
    @overload
    def __getitem__(self, key: int) -> Group: ...
    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        found = [group for group in self if key in group.patterns]
        if not found:
            known = sorted({pattern for group in self for pattern in group.patterns})
            raise KeyError(f"groups: no group has the pattern {key!r}; there are {known}")
        return found[0] if len(found) == 1 else SeveralGroups(key, found)


class SeveralGroups(MutableMapping[str, Any]):
    """The options of all groups that have a pattern: what is set is set in each of them."""

    __slots__ = ("_groups", "_pattern")

    def __init__(self, pattern: str, groups: Iterable[Group]) -> None:
        self._pattern, self._groups = pattern, tuple(groups)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for group in self._groups for name in group.names)

    def __getitem__(self, key: str) -> Any:
        values = [group[key] for group in self._groups]
        if all(value == values[0] for value in values):
            return values[0]
        raise ValueError(f"groups[{self._pattern!r}] are {len(values)}, whose {key} is {values}")

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set several options in all groups, or, if one is refused, in none."""
        values = {**dict(other), **more}
        before = [{key: group[key] for key in values if key in group} for group in self._groups]
        for number, group in enumerate(self._groups):
            try:
                group._set_all(values)
            except BaseException:
                for changed, old in zip(self._groups[:number], before, strict=False):
                    changed._set_all(old)
                raise

    def __delitem__(self, key: str) -> None:
        del self._groups[0][key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups[0])

    def __len__(self) -> int:
        return len(self._groups[0])

    def __repr__(self) -> str:
        return f"{len(self._groups)} groups of the pattern {self._pattern!r}: {self.names}"
