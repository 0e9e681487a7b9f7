"""Hypothesis looks for a sequence of calls after which an optimizer and the model of it differ."""

from __future__ import annotations

import copy
import pickle
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from cases import assert_same_bits, map_tree, random_like, random_mask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model import Model
from optimizer_options import SHARED, strategies, together
from optimizer_twins import (
    Design,
    assert_alike,
    assert_same_result,
    drawn,
    flat,
    kinds,
    laid_out,
    plateaus,
    random_branch,
)
from refused_calls import REFUSED, is_refused

import fastopt
from fastopt.tree import paths

seeds = st.integers(0, 2**32 - 1)
in_files = st.sampled_from([False, False, False, True])  # which take the most time
scales = st.sampled_from([1.0, 0.125, -2.0, 3, np.float32(0.3), 0.0])
perhaps_infinite = st.sampled_from([None, None, np.inf])
mask_forms = st.none() | st.sampled_from(["bool", "uint8", "packed", "mixed"])


class OptimizerMachine(RuleBasedStateMachine):
    """An optimizer and its model, which get the same calls."""

    design: Design
    opt: Any
    model: Model
    params: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.saved: Any = None

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(data=st.data(), seed=seeds)
    def make(self, data: Any, seed: int) -> None:
        made = drawn(data.draw, np.random.default_rng(seed))
        self.design, self.params, options, of_groups = made
        self.opt, self.model = self.design.make(self.params, options, of_groups)

    # Steps

    def gradients(self, seed: int, value: float | None = None) -> Any:
        """Return gradients in any layout, one element of which is `value`."""
        rng = np.random.default_rng(seed)
        grads = map_tree(lambda p: laid_out(random_like(p, rng), rng), self.params)
        elements = [array for array in flat(grads) if array.size]
        if value is not None and elements:
            chosen = elements[rng.integers(len(elements))]
            chosen[np.unravel_index(rng.integers(chosen.size), chosen.shape)] = value
        if self.design.form == "list":  # nobody looks at those of a group that is frozen
            for number, frozen in enumerate(self.model.frozen):
                if frozen and rng.random() < 0.5:
                    grads[number] = None
        return grads

    def masks(self, forms: Any, keep_prob: float, seed: int) -> tuple[Any, Any]:
        """Return the masks that a step shall have: for the optimizer and, flat, for the model."""
        rng, options = np.random.default_rng(seed), {}
        for name, form in zip(("mask", "update_mask"), forms, strict=True):
            if form and not (
                name == "mask" and self.model.shared["drop"]
            ):  # they exclude each other
                options[name] = random_mask(self.params, rng, form)
        of_model = {name: flat(tree, self.params) for name, tree in options.items()}
        if "mask" in options:
            options["keep_prob"] = of_model["keep_prob"] = keep_prob
        return options, of_model

    def compare_step(self, grads: Any, options: Any = None, of_model: Any = None) -> None:
        given = flat(grads, self.params)
        expected = [None if grad is None else grad.copy() for grad in given]
        with np.errstate(all="ignore"):
            wanted = self.model.step(given, **(of_model or {}))
        result = self.opt.step(grads, **(options or {}))
        assert_same_result(result, wanted)
        if self.model.shared["zero_grads"] and not (wanted and wanted.skipped):
            for k in self.model.used:
                expected[k][...] = 0
        assert_same_bits(given, expected)

    @precondition(lambda self: not self.model.waiting)
    @rule()  # Without arguments, and first by its name: what Hypothesis likes best.
    def a_step(self) -> None:
        self.compare_step(self.gradients(self.model.step_count))

    @precondition(lambda self: not self.model.waiting)
    @rule(seed=seeds, count=st.integers(2, 4))
    def steps(self, seed: int, count: int) -> None:
        for number in range(count):
            self.compare_step(self.gradients(seed + number))
            self.compare()

    @precondition(lambda self: not self.model.waiting)
    @rule(
        seed=seeds,
        grad_scale=scales,
        forms=st.tuples(mask_forms, mask_forms),
        keep_prob=st.sampled_from([1.0, 0.5, 0.7]),
        value=perhaps_infinite,
    )
    def step_with_options(
        self, seed: int, grad_scale: float, forms: Any, keep_prob: float, value: float | None
    ) -> None:
        if not self.skips():
            value = None
        options, of_model = self.masks(forms, keep_prob, seed)
        more = {"grad_scale": grad_scale}
        self.compare_step(self.gradients(seed, value), options | more, of_model | more)

    @precondition(lambda self: not self.model.waiting)
    @rule(seed=seeds, value=st.sampled_from([np.inf, -np.inf, np.nan]))
    def step_that_is_not_finite(self, seed: int, value: float) -> None:
        self.compare_step(self.gradients(seed, value))
        self.compare()
        self.heal(seed)

    def skips(self) -> bool:
        return self.model.shared["skip_nonfinite"]

    def heal(self, seed: int) -> None:
        """Go on with numbers where there is NaN by now, which would hide whatever comes."""
        if not all(np.isfinite(entry.p).all() for entry in self.model.entries):
            self.write(seed)

    @rule(seed=seeds)
    def write(self, seed: int) -> None:
        """Write into all arrays, in place, as a user may."""
        rng = np.random.default_rng(seed)
        averages = flat(self.opt.ema) if self.model.averages else []
        for k, (entry, p) in enumerate(zip(self.model.entries, flat(self.params), strict=True)):
            entry.p[...] = p[...] = random_like(p, rng)
            if averages:
                entry.ema[...] = averages[k][...] = random_like(p, rng)
        for number, group in enumerate(self.opt.groups):
            for i, entry in enumerate(self.model.of_group(number)):
                for name, array in entry.state.items():
                    array[...] = group._arrays()[name][i][...] = rng.random(array.shape)

    # Accumulation

    def may_accumulate(self) -> bool:
        return not self.model.waiting or self.model.frozen_then == self.model.frozen

    @precondition(may_accumulate)
    @rule(seed=seeds, count=st.integers(1, 3), value=perhaps_infinite)
    def accumulate(self, seed: int, count: int, value: float | None) -> None:
        for number in range(count):
            is_last = number == count - 1
            grads = self.gradients(seed + number, value if is_last and self.skips() else None)
            given = flat(grads, self.params)
            before = copy.deepcopy(given)
            self.model.accumulate(given)
            self.opt.accumulate(grads)
            self.compare()
            assert_same_bits(given, before)

    @precondition(lambda self: not self.may_accumulate())
    @rule()
    def accumulate_while_others_are_frozen(self) -> None:
        assert is_refused(lambda: self.opt.accumulate(self.gradients(0)))
        assert is_refused(self.opt.step)

    @precondition(may_accumulate)
    @rule(seed=seeds, count=st.integers(1, 3), value=perhaps_infinite, grad_scale=scales)
    def accumulate_and_step(
        self, seed: int, count: int, value: float | None, grad_scale: float
    ) -> None:
        self.accumulate(seed, count, value)
        self.step_of_the_sum_with_options(seed, grad_scale, (None, None))

    @precondition(lambda self: self.model.waiting and self.may_accumulate())
    @rule()
    def a_step_of_the_sum(self) -> None:
        self.step_of_the_sum_with_options(self.model.step_count, 1.0, (None, None))

    @precondition(lambda self: self.model.waiting and self.may_accumulate())
    @rule(seed=seeds, grad_scale=scales, forms=st.tuples(mask_forms, mask_forms))
    def step_of_the_sum_with_options(self, seed: int, grad_scale: float, forms: Any) -> None:
        options, of_model = self.masks(forms, 0.5, seed)
        with np.errstate(all="ignore"):
            wanted = self.model.step_of_sum(grad_scale=grad_scale, **of_model)
        assert_same_result(self.opt.step(grad_scale=grad_scale, **options), wanted)
        self.compare()
        self.heal(seed)

    @rule()
    def discard_accumulated(self) -> None:
        self.model.discard()
        self.opt.discard_accumulated()

    # Groups and options

    @rule(data=st.data(), seed=seeds)
    @precondition(
        lambda self: self.design.form == "list" and len(self.params) < 4 and not self.model.waiting
    )
    def add_group(self, data: Any, seed: int) -> None:
        number, branch = len(self.params), random_branch(data.draw, np.random.default_rng(seed))
        options = data.draw(self.design.group_options())
        self.model.add_group(copy.deepcopy(options))
        for path, array in zip(paths([branch]), flat(branch), strict=True):
            self.model.add_entry(f"[{number}]{path.removeprefix('[0]')}", number, array)
        self.opt.add_group({"params": branch, **copy.deepcopy(options)})
        self.params.append(branch)

    @rule(number=st.integers(0, 3))
    def freeze_or_not(self, number: int) -> None:
        number %= len(self.model.groups)
        frozen = not self.model.frozen[number]
        self.model.groups[number].options["frozen"] = frozen
        self.opt.groups[number]["frozen"] = frozen

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

    @rule(data=st.data(), seed=seeds)
    def refused(self, data: Any, seed: int) -> None:
        possible = [name for name, (applies, _) in REFUSED.items() if applies(self)]
        name = data.draw(st.sampled_from(possible))
        grads = self.gradients(seed)
        before = copy.deepcopy(grads)
        _, call = REFUSED[name]
        assert is_refused(lambda: call(self, grads)), name
        assert_same_bits(flat(grads, self.params), flat(before, self.params))

    # Averages

    @precondition(lambda self: self.model.averages)
    @rule(seed=seeds, lr=st.sampled_from([None, 0.5, 0.25]))
    def look_at_averages(self, seed: int, lr: float | None) -> None:
        model, grads = self.model, self.gradients(seed)
        with self.opt.averaged() as params:
            assert params is self.opt.params
            assert_same_bits(self.params, [entry.ema for entry in model.entries])
            assert_same_bits(self.opt.ema, [entry.p for entry in model.entries])
            if lr is not None:
                model.groups[0].options["lr"] = lr
                self.opt.groups[0]["lr"] = lr
            assert is_refused(lambda: self.opt.step(grads))
            assert is_refused(lambda: self.opt.accumulate(grads))
            assert is_refused(self.opt.averaged().__enter__)
            assert is_refused(self.opt.state_dict)
            assert is_refused(lambda: copy.deepcopy(self.opt))

    # Copies and checkpoints

    def replace(self, opt: Any, params: Any) -> None:
        """Go on with another optimizer, and spoil the old one to show that nothing is shared."""
        for array in flat(self.params):
            array[...] = 77
        for group in self.opt.groups:
            group.update(lr=77.0)
        self.opt.discard_accumulated()
        self.opt, self.params = opt, params

    @rule(data=st.data(), how=st.sampled_from(["deepcopy", "pickle", "state_dict", "file"]))
    def go_on_with_another(self, data: Any, how: str) -> None:
        if how == "deepcopy":
            copied = copy.deepcopy(self.opt)
        elif how == "pickle":
            copied = pickle.loads(pickle.dumps(self.opt))
        else:
            self.go_on_with_a_new_one(data.draw(SHARED["threads"]), in_a_file=how == "file")
            return
        self.replace(copied, copied.params)

    def go_on_with_a_new_one(self, threads: int | None, in_a_file: bool) -> None:
        """Load the state into an optimizer with other numbers, and schedules where we have some."""
        old = self.model
        options: dict[str, Any] = {"threads": threads}
        if old.averages:
            options["ema_decay"] = 0.25
        if self.design.has_momentum:
            options["momentum"] = 0.25
        params = map_tree(lambda array: np.full_like(array, 5), self.params)
        new, model = self.design.make(params, options, [{} for _ in old.groups])
        pairs = [(old.shared, model.shared, new.options)]
        pairs += [
            (group.options, mine.options, theirs)
            for group, mine, theirs in zip(old.groups, model.groups, new.groups, strict=True)
        ]
        for values, mine, theirs in pairs:
            changes = {k: v for k, v in values.items() if callable(v) and k != "drop"}
            if values.get("drop"):
                changes["drop"] = fastopt.Dropout(0.1, seed=1)
            mine.update(copy.deepcopy(changes))
            theirs.update(copy.deepcopy(changes))
        self.save(in_a_file)
        self.load(new, params)
        model.load(old)
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

    def load(self, opt: Any, params: Any) -> None:
        with warnings.catch_warnings():  # of options that it replaces
            warnings.filterwarnings("ignore", ".*the saved options replace")
            self.load_kept(opt, params)

    def load_kept(self, opt: Any, params: Any) -> None:
        kept, _ = self.saved
        if isinstance(kept, Path):
            fastopt.load(kept, params=params, optimizer=opt)
            return
        opt.load_state_dict(kept[1])
        for to, array in zip(flat(params), flat(kept[0]), strict=True):
            to[...] = array

    @rule(in_a_file=in_files)
    def save_for_later(self, in_a_file: bool) -> None:
        self.save(in_a_file)

    @precondition(lambda self: self.saved)
    @rule()
    def go_back(self) -> None:
        """Load what was saved some calls ago, if groups and schedules are as they were then."""
        _, saved = self.saved
        if kinds(saved) == kinds(self.model):
            self.load(self.opt, self.params)
            self.model.load(saved)
        else:
            assert is_refused(lambda: self.load(self.opt, self.params))

    # What must hold after every call

    @invariant()
    def compare(self) -> None:
        assert_alike(self.opt, self.model, self.params)


TestOptimizers = OptimizerMachine.TestCase
TestOptimizers.settings = settings(
    max_examples=250,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
