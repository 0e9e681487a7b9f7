"""The state of dataclasses that are nothing but numbers and words."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from fastopt.arguments import take_all


class Remembered:
    """The base of what a checkpoint brings back: all fields are its state."""

    __slots__ = ()

    __post_init__ = take_all

    def state_dict(self: Any) -> dict[str, Any]:
        """Return settings and state, all that is needed to go on, as plain numbers and words.

        What makes an object takes them too: ``**state_dict`` gives an equal one.
        """
        self.__post_init__()  # attributes may have been set since, to NumPy's numbers too
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def load_state_dict(self: Any, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned, settings too; all of it or nothing."""
        name = type(self).__name__
        where = f"{name}.load_state_dict"
        if not isinstance(state, dict):
            raise TypeError(f"{where}: state must be a dict, not {type(state).__name__}")
        known = [field.name for field in fields(self)]
        for field in known:
            if field not in state:
                raise ValueError(f"{where}: state has no {field!r}")
        for field in state:
            if field not in known:
                raise ValueError(f"{where}: there is no {field!r} in a {name}")
        restored = type(self)(**state)
        for field in known:
            setattr(self, field, getattr(restored, field))
