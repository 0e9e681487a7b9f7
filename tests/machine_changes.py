"""What changes between steps: parameters, groups, options, what is frozen, averages."""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from cases import assert_same_bits, map_tree, random_like
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine import seeds
from machine_steps import Steps
from optimizer_options import SHARED, strategies, together
from optimizer_twins import (
    flat,
    in_any_order,
    laid_out,
    plateaus,
    random_branch,
    with_more,
)
from refused_calls import is_refused

from fastopt.optimizers.group import one_or_each

MOST_ARRAYS = 9


class Changes(Steps):
    # Parameters

    @rule(data=st.data(), seed=seeds, more=st.integers(0, 2), kept=st.sampled_from([0, 0.5, 1]))
    @precondition(lambda self: self.may_accumulate())
    def step_with_other_arrays(self, data: Any, seed: int, more: int, kept: float) -> None:
        """Go on with other arrays under the names of before, and perhaps new ones."""
        rng = np.random.default_rng(seed)
        old, of_sums = self.params, self.model.waiting > 0
        left = [(array, array.copy()) for array in flat(old)]
        new = map_tree(
            lambda p: p if rng.random() < kept else laid_out(random_like(p, rng), rng), old
        )
        for _ in range(more if len(left) < MOST_ARRAYS else 0):
            new = with_more(new, self.design.form, data.draw, rng)
        new = in_any_order(new, rng)
        self.take(new)
        if of_sums:
            self.compare_step_of_the_sum(seed, {"params": new}, {})
        else:
            self.compare_step(self.gradients(seed), {"params": new}, {})
        used = {id(array) for array in flat(new)}
        for array, before in left:
            if id(array) not in used:
                assert_same_bits(array, before)

    def take(self, new: Any) -> None:
        """Let these be the parameters of the model, and of the user."""
        self.model.take(new)
        self.params = new

    # Groups and options

    @rule(data=st.data(), seed=seeds)
    @precondition(
        lambda self: self.design.form == "list" and len(self.params) < 4 and not self.model.waiting
    )
    def add_group(self, data: Any, seed: int) -> None:
        branch = random_branch(data.draw, np.random.default_rng(seed))
        options = data.draw(self.design.group_options())
        self.opt.add_group({"params": branch, **copy.deepcopy(options)})
        self.model.add_group(copy.deepcopy(options))
        self.params = [*self.params, branch]
        self.model.take(self.params)

    @rule(number=st.integers(0, 3))
    def freeze_a_group_or_not(self, number: int) -> None:
        number %= len(self.model.groups)
        frozen = not self.model.groups[number].options["frozen"]
        self.model.groups[number].options["frozen"] = frozen
        self.opt.groups[number]["frozen"] = frozen

    def patterns(self) -> Any:
        """Return a strategy for patterns that some name matches."""
        some = ["*", "*b", "*.w", "0*", "y.*", "[xz].*", "[!p]*"]
        names = self.model.names
        some = [pattern for pattern in some if any(fnmatchcase(name, pattern) for name in names)]
        return st.sampled_from([*some, *names])

    @rule(data=st.data())
    def freeze(self, data: Any) -> None:
        pattern = data.draw(self.patterns())
        self.model.freeze(pattern)
        self.opt.freeze(pattern)

    @rule(data=st.data())
    def unfreeze(self, data: Any) -> None:
        pattern = data.draw(self.patterns())
        self.model.unfreeze(pattern)
        self.opt.unfreeze(pattern)

    @rule(data=st.data())
    def set_options_of_a_group(self, data: Any) -> None:
        number = data.draw(st.sampled_from(range(len(self.model.groups))))
        changes = data.draw(self.design.group_options())
        self.model.groups[number].options |= copy.deepcopy(changes)
        self.opt.groups[number].update(copy.deepcopy(changes))

    @rule(data=st.data())
    def set_an_option_of_all(self, data: Any) -> None:
        several = together(self.design.scheduled)
        if not self.model.averages:
            del several["averaging"]
        table = strategies(SHARED, self.design.scheduled) | several
        name = data.draw(st.sampled_from(list(table)))
        value = data.draw(table[name])
        changes = value if name in several else {name: value}
        self.model.shared |= copy.deepcopy(changes)
        self.opt.options.update(copy.deepcopy(changes))

    @rule(seed=seeds)
    def set_counts(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.model.step_count = self.opt.step_count = int(rng.integers(9))
        for number, group in enumerate(self.opt.groups):
            entries = self.model.of_group(number)
            for entry in entries:
                entry.step = int(rng.integers(9))
            if group.state is not None:
                group.state.step = one_or_each(entry.step for entry in entries)

    @precondition(lambda self: self.model.shared["drop"] is not None)
    @rule()
    def train_or_evaluate(self) -> None:
        for options in (self.model.shared, self.opt.options):
            options["drop"].training = not options["drop"].training

    @precondition(lambda self: plateaus(self.opt.groups))
    @rule(metric=st.sampled_from([1.0, 2.0]))
    def tell_the_metric(self, metric: float) -> None:
        mine = plateaus(group.options for group in self.model.groups)
        for each in zip(mine, plateaus(self.opt.groups), strict=True):
            for plateau in each:
                plateau.update(metric)

    # Averages

    @precondition(lambda self: self.model.averages)
    @rule()
    def reset_averages(self) -> None:
        self.model.reset_averages()
        self.opt.reset_averages()

    @precondition(lambda self: self.model.averages)
    @rule(seed=seeds, lr=st.sampled_from([None, 0.5, 0.25]))
    def look_at_averages(self, seed: int, lr: float | None) -> None:
        model, grads = self.model, self.gradients(seed)
        others = map_tree(np.copy, self.params)
        with self.opt.averaged() as params:
            assert params is self.opt.params
            assert_same_bits(self.params, [entry.ema for entry in model.entries])
            assert_same_bits(self.opt.ema, [entry.p for entry in model.entries])
            if lr is not None:
                model.groups[0].options["lr"] = lr
                self.opt.groups[0]["lr"] = lr
            assert is_refused(lambda: self.opt.step(grads))
            assert is_refused(lambda: self.opt.step(grads, params=others))
            assert is_refused(lambda: self.opt.accumulate(grads))
            assert is_refused(self.opt.averaged().__enter__)
            assert is_refused(self.opt.reset_averages)
            assert is_refused(self.opt.state_dict)
            assert is_refused(lambda: copy.deepcopy(self.opt))
