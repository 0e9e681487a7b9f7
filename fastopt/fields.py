"""The state of dataclasses that are nothing but numbers and words."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def load_fields(holder: Any, state: Any) -> None:
    """Set all fields of a dataclass to those of `state`; all of them or, if one is wrong, none.

    What makes an instance checks them.
    """
    name = type(holder).__name__
    where = f"{name}.load_state_dict"
    if not isinstance(state, dict):
        raise TypeError(f"{where}: state must be a dict, not {type(state).__name__}")
    known = [field.name for field in fields(holder)]
    for field in known:
        if field not in state:
            raise ValueError(f"{where}: state has no {field!r}")
    for field in state:
        if field not in known:
            raise ValueError(f"{where}: there is no {field!r} in a {name}")
    restored = type(holder)(**state)
    for field in known:
        setattr(holder, field, getattr(restored, field))
