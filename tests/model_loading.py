"""What loading a saved state does to the model of an optimizer: all of it goes by names."""

from __future__ import annotations

from typing import Any

from model import Entry, Model
from optimizer_options import is_schedule


def load(own: Model, saved: Model, *, keep: bool, strict: bool) -> tuple[list[str], list[str]]:
    """Take over what another optimizer had when it was saved, but for its parameters.

    Returns what was missing and what was left over.
    """
    theirs = {entry.name: entry for entry in saved.entries}
    missing: list[str] = []
    left_over = [name for name in theirs if name not in own.names]
    if not keep:
        load_options(own, saved, theirs)
    whole = saved.averages and not saved.shared["ema_debias"] and own.shared["ema_debias"]
    for entry in own.entries:
        if entry.name in theirs:
            entry.frozen = theirs[entry.name].frozen
    load_drop(own.shared["drop"], saved.shared["drop"], missing, left_over)
    own.step_count = saved.step_count
    for entry in own.entries:
        source = theirs.get(entry.name)
        if source is not None and not own.averages:  # it is of no use, and kept
            entry.ema_weight = 1.0 if whole else source.ema_weight
        if source is None or not all(fits(source.state[k], entry.state[k]) for k in own.states):
            missing.append(entry.name)
            left_over += [] if source is None else [entry.name]
            continue
        entry.step = source.step
        for name, array in source.state.items():
            entry.state[name][...] = array
    load_averages(own, saved, theirs, missing, left_over)
    for entry in own.entries if whole and own.averages else ():
        if f"ema.{entry.name}" not in missing:
            entry.ema_weight = 1.0  # those that were never freed of their start are whole
    load_sums(own, saved, theirs, left_over)
    return sorted(missing), sorted(left_over)


def fits(array: Any, to: Any) -> bool:
    return (array.shape, array.dtype) == (to.shape, to.dtype)


def load_options(own: Model, saved: Model, theirs: dict[str, Entry]) -> None:
    """Numbers of groups are those that the first array of the group had."""
    of_averages = ("ema_decay", "ema_debias") if own.averages != saved.averages else ()
    take_over(own.shared, {k: v for k, v in saved.shared.items() if k not in of_averages})
    for number, group in enumerate(own.groups):
        known = [theirs[entry.name] for entry in own.of_group(number) if entry.name in theirs]
        if known:
            take_over(group.options, saved.groups[known[0].group].options)


def take_over(own: dict[str, Any], saved: dict[str, Any]) -> None:
    """Replace numbers; a schedule stays, and gets what one in its place remembered."""
    for name, value in saved.items():
        if name in ("threads", "drop"):  # one is the machine's, one comes by itself
            continue
        if hasattr(value, "state_dict"):
            own[name].load_state_dict(value.state_dict())
        elif not is_schedule(value):
            own[name] = value


def load_drop(own: Any, saved: Any, missing: list[str], left_over: list[str]) -> None:
    if own is not None and saved is not None:
        own.load_state_dict(saved.state_dict())
    elif own is not None or saved is not None:
        (left_over if own is None else missing).append("drop")


def load_averages(
    own: Model, saved: Model, theirs: dict[str, Entry], missing: list[str], left_over: list[str]
) -> None:
    """Averages that a state lacks begin as copies; with an average comes what it weighs."""
    if not own.averages:
        left_over += ["ema"] if saved.averages else []
        return
    if not saved.averages:
        own.reset_averages()
        return
    for entry in own.entries:
        source = theirs.get(entry.name)
        if source is not None and fits(source.ema, entry.ema):
            entry.ema[...], entry.ema_weight = source.ema, source.ema_weight
        else:
            missing.append(f"ema.{entry.name}")
            left_over += [] if source is None else [f"ema.{entry.name}"]
    left_over += [f"ema.{name}" for name in theirs if name not in own.names]


def load_sums(own: Model, saved: Model, theirs: dict[str, Entry], left_over: list[str]) -> None:
    own.discard()
    if not saved.waiting:
        return
    own.begin_sums()
    needed = {entry.name: entry.total for entry in saved.entries if entry.added}
    same = set(theirs) == set(own.names)
    if not same or not all(
        fits(needed[entry.name], entry.total) for entry in own.entries if entry.name in needed
    ):
        left_over.append("accumulated")
        return
    own.waiting, own.weight = saved.waiting, saved.weight
    for entry in own.entries:
        source = theirs[entry.name]
        if source.added:
            entry.total[...] = source.total
        entry.added, entry.frozen_then = source.added, source.frozen_then


def load_params(own: Model, saved: Model) -> None:
    """Take over the parameters that were saved, where they fit."""
    theirs = {entry.name: entry for entry in saved.entries}
    for entry in own.entries:
        if entry.name in theirs and fits(theirs[entry.name].p, entry.p):
            entry.p[...] = theirs[entry.name].p
