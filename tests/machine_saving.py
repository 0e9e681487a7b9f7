"""Copies and checkpoints of the optimizer, with which the machine goes on."""

from __future__ import annotations

import copy
import pickle
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cases import map_tree, random_like
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine import Machine, seeds
from model import Model
from model_loading import fits, load, load_params
from optimizer_options import OPTIONS, REQUIRED, SHARED
from optimizer_twins import flat, in_any_order, with_more
from refused_calls import is_refused

import fastopt
from fastopt.tree import names, zip_trees

in_files = st.sampled_from([False, False, False, True])  # which take the most time


def kinds(options: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same in a state and in the optimizer that loads it."""
    return {k: type(v) if hasattr(v, "state_dict") else callable(v) for k, v in options.items()}


def loads(own: Model, saved: Model, keep: bool, strict: bool) -> bool:
    """Tell whether a model of an optimizer can take over what was saved."""
    drops = [model.shared["drop"] is not None for model in (own, saved)]
    if strict:
        by_groups = [
            sorted(
                sorted(entry.name for entry in model.of_group(k)) for k in range(len(model.groups))
            )
            for model in (own, saved)
        ]
        if by_groups[0] != by_groups[1] or drops[0] != drops[1]:
            return False
        if (saved.averages and not own.averages) or not all_fit(own, saved):
            return False
    if keep:
        return True
    theirs = {entry.name: saved.groups[entry.group] for entry in saved.entries}
    pairs = [(own.shared, saved.shared)]
    for number, group in enumerate(own.groups):
        known = [theirs[entry.name] for entry in own.of_group(number) if entry.name in theirs]
        pairs += [(group.options, each.options) for each in known[:1]]
    left_out = {"drop"} | ({"ema_decay"} if own.averages != saved.averages else set())
    return all(
        kinds({k: v for k, v in mine.items() if k not in left_out})
        == kinds({k: v for k, v in others.items() if k not in left_out})
        for mine, others in pairs
    )


def all_fit(own: Model, saved: Model) -> bool:
    """Tell whether all arrays of a state fit those of the same names."""
    theirs = {entry.name: entry for entry in saved.entries}
    pairs = []
    for entry in own.entries:
        source = theirs[entry.name]
        pairs += [(source.state[name], entry.state[name]) for name in own.states]
        pairs += [(source.ema, entry.ema)] if own.averages and saved.averages else []
        pairs += [(source.total, entry.p)] if saved.waiting and source.added else []
    return all(fits(array, to) for array, to in pairs)


class Saving(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.saved: Any = None

    def teardown(self) -> None:
        self.folder.cleanup()

    def replace(self, opt: Any, params: Any) -> None:
        """Go on with another optimizer, and spoil the old one to show that nothing is shared."""
        held = self.opt._held
        for array in [*flat(self.params), *held.arrays_that_change()]:
            array[...] = 77
        for group in self.opt.groups:
            group.update(lr=77.0)
        self.opt.discard_accumulated()
        self.opt.freeze("*")
        self.opt, self.params = opt, params

    @rule(how=st.sampled_from(["deepcopy", "pickle"]))
    def go_on_with_a_copy(self, how: str) -> None:
        if how == "deepcopy":
            copied = copy.deepcopy(self.opt)
        else:
            copied = pickle.loads(pickle.dumps(self.opt))
        self.replace(copied, copied.params)

    @rule(data=st.data(), seed=seeds, in_a_file=in_files)
    def go_on_with_a_new_one(self, data: Any, seed: int, in_a_file: bool) -> None:
        """Load the state into an optimizer with other numbers, and schedules where we have some."""
        rng = np.random.default_rng(seed)
        averages = self.model.averages
        if not in_a_file and data.draw(st.sampled_from([False, False, True])):
            averages = True
        params = in_any_order(map_tree(lambda array: np.full_like(array, 5), self.params), rng)
        new, model = self.numbers_to_replace(params, averages, data.draw(SHARED["threads"]))
        self.save(in_a_file)
        self.go_on_with(
            new, model, params, keep=False, strict=loads(model, self.model, False, True)
        )

    @rule(data=st.data(), seed=seeds)
    def go_on_with_other_options(self, data: Any, seed: int) -> None:
        """Load the state, but keep the options of the optimizer that it is loaded into."""
        params = map_tree(lambda array: np.full_like(array, 5), self.params)
        options = self.design.drawn_options(data.draw)
        count = self.design.count_of_options(params)
        of_groups = [data.draw(self.design.group_options()) for _ in range(count)]
        if self.design.form == "tree":
            of_groups[0] = {}
        new, model = self.design.make(params, options, of_groups)
        self.save(in_a_file=False)
        strict = data.draw(st.booleans()) and loads(model, self.model, keep=True, strict=True)
        self.go_on_with(new, model, params, keep=True, strict=strict)

    @rule(data=st.data(), seed=seeds, keep=st.booleans(), averages=st.booleans())
    def go_on_with_what_fits(self, data: Any, seed: int, keep: bool, averages: bool) -> None:
        """Load the state into an optimizer of other arrays, some of which are those of before.

        They may all be in one group then.
        """
        rng = np.random.default_rng(seed)
        if rng.random() < 0.3:
            self.design = replace(self.design, form="tree")

        def perhaps_another(array: Any) -> Any:
            shape = (3, *array.shape) if rng.random() < 0.2 and array.ndim < 3 else array.shape
            return random_like(np.empty(shape, array.dtype), rng)

        params = map_tree(perhaps_another, self.params)
        if rng.random() < 0.5:
            params = without_one(params, rng)
        if rng.random() < 0.5 and len(self.model.entries) < 9:
            params = with_more(params, self.design.form, data.draw, rng)
        if not self.design.takes(params):
            params = map_tree(perhaps_another, self.params)
        params = in_any_order(params, rng)
        new, model = self.numbers_to_replace(params, averages, None)
        self.save(in_a_file=False)
        self.go_on_with(new, model, params, keep=keep, strict=False)

    def numbers_to_replace(self, params: Any, averages: bool, threads: Any) -> tuple[Any, Model]:
        """Make an optimizer that has schedules where we have, and other numbers elsewhere."""
        old = self.model
        options: dict[str, Any] = {"threads": threads}
        if averages:
            options["ema_decay"] = 0.25
        if self.design.has_momentum:
            options["momentum"] = 0.25
        own = OPTIONS[self.design.name]
        options |= {name: value for name, value in REQUIRED.items() if name in own}
        no_options = [{} for _ in range(self.design.count_of_options(params))]
        new, model = self.design.make(params, options, no_options)
        theirs = {entry.name: old.groups[entry.group].options for entry in old.entries}
        pairs = [(old.shared, model.shared, new.options)]
        for number, (group, own) in enumerate(zip(model.groups, new.groups, strict=True)):
            known = [theirs[entry.name] for entry in model.of_group(number) if entry.name in theirs]
            pairs += [(values, group.options, own) for values in known[:1]]
        for values, mine, own in pairs:
            changes = {k: v for k, v in values.items() if callable(v) and k != "drop"}
            if averages != old.averages:
                changes.pop("ema_decay", None)
            if values.get("drop"):
                changes["drop"] = fastopt.Dropout(0.1, seed=1)
            mine.update(copy.deepcopy(changes))
            own.update(copy.deepcopy(changes))
        return new, model

    def go_on_with(self, new: Any, model: Model, params: Any, *, keep: bool, strict: bool) -> None:
        if strict:
            assert loads(model, self.model, keep, strict)
        self.load(new, model, params, keep=keep, strict=strict)
        self.replace(new, params)
        self.model = model

    def save(self, in_a_file: bool) -> None:
        """Keep parameters, state and a copy of the model."""
        kept: Any = Path(self.folder.name) / "saved.npz"
        if in_a_file:
            fastopt.save(kept, params=self.params, optimizer=self.opt)
        else:
            kept = copy.deepcopy((self.params, self.opt.state_dict()))
        self.saved = kept, copy.deepcopy(self.model)

    def load(self, opt: Any, own: Model, params: Any, *, keep: bool, strict: bool) -> None:
        """Load what was saved into an optimizer and into the model of it."""
        _, saved = self.saved
        wanted = load(own, saved, keep=keep, strict=strict)
        load_params(own, saved)
        loaded = self.load_kept(opt, params, keep, strict)
        if loaded is not None:
            told = sorted(loaded.missing), sorted(loaded.left_over)
            assert told == wanted, f"{told}, not {wanted}"
        else:
            assert wanted == ([], [])

    def load_kept(self, opt: Any, params: Any, keep: bool, strict: bool) -> Any:
        kept, _ = self.saved
        with warnings.catch_warnings():  # of options that it replaces
            warnings.filterwarnings("ignore", ".*the saved options replace")
            if isinstance(kept, Path):
                fastopt.load(kept, params=params, optimizer=opt)
                return None
            loaded = opt.load_state_dict(
                kept[1], options="keep" if keep else "saved", strict=strict
            )
        named = dict(zip(names("test", kept[0]), flat(kept[0]), strict=True))
        for name, (array,) in zip(names("test", params), zip_trees(params), strict=True):
            if name in named and fits(named[name], array):
                array[...] = named[name]
        return loaded

    @rule(in_a_file=in_files)
    def save_for_later(self, in_a_file: bool) -> None:
        self.save(in_a_file)

    @precondition(lambda self: self.saved)
    @rule(keep=st.booleans(), strict=st.booleans())
    def go_back(self, keep: bool, strict: bool) -> None:
        """Load what was saved some calls ago, if groups and schedules are as they were then."""
        kept, saved = self.saved
        if isinstance(kept, Path):
            keep, strict = False, True
            others = {entry.name: entry.p for entry in saved.entries}
            same = saved.averages == self.model.averages and all(
                fits(others.get(entry.name, entry.p), entry.p) for entry in self.model.entries
            )
            if not same:
                return
        if loads(self.model, saved, keep, strict):
            self.load(self.opt, self.model, self.params, keep=keep, strict=strict)
        else:
            assert is_refused(lambda: self.load_kept(self.opt, self.params, keep, strict))


def without_one(tree: Any, rng: np.random.Generator) -> Any:
    """Leave an entry of the tree out, but not the last of a branch."""
    if isinstance(tree, list):
        number = int(rng.integers(len(tree)))
        return [without_one(node, rng) if k == number else node for k, node in enumerate(tree)]
    if isinstance(tree, dict) and len(tree) > 1:
        left = list(tree)[rng.integers(len(tree))]
        return {key: node for key, node in tree.items() if key != left}
    return tree
