"""What the parts of the state machine have in common: an optimizer, its model, and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import assert_same_bits, map_tree, random_like, random_mask
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant
from model import Model
from optimizer_twins import (
    Design,
    assert_alike,
    assert_same_result,
    drawn,
    flat,
    in_any_order,
    is_tree,
    laid_out,
    with_gaps,
)

seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([1.0, 0.125, -2.0, 3, np.float32(0.3), 0.0])
weights = st.sampled_from([1.0, 1.0, 2, 0.3, np.float32(0.7)])
perhaps_infinite = st.sampled_from([None, None, np.inf])
mask_forms = st.none() | st.sampled_from(["bool", "uint8", "packed", "mixed"])


class Machine(RuleBasedStateMachine):
    """An optimizer and its model, which get the same calls."""

    design: Design
    opt: Any
    model: Model
    params: Any

    @initialize(data=st.data(), seed=seeds, with_a_state=st.booleans())
    def make(self, data: Any, seed: int, with_a_state: bool) -> None:
        rng = np.random.default_rng(seed)
        self.design, self.params, options, of_groups = drawn(data.draw, rng)
        self.opt, self.model = self.design.make(self.params, options, of_groups)
        if with_a_state:
            state = self.design.random_state(self.params, self.model, rng)
            self.opt, self.model = self.design.make(self.params, options, of_groups, state)
            self.model.step_count = max((entry.step for entry in self.model.entries), default=0)
            assert_adopted(self.opt, self.model, state)

    def gradients(self, seed: int, value: float | None = None, gaps: bool = True) -> Any:
        """Return gradients in any layout and order of keys, one element of which is `value`.

        Those of frozen arrays may be None, with gaps others too.
        """
        rng = np.random.default_rng(seed)
        grads = map_tree(lambda p: laid_out(random_like(p, rng), rng), self.params)
        elements = [array for array in flat(grads) if array.size]
        if value is not None and elements:
            chosen = elements[rng.integers(len(elements))]
            chosen[np.unravel_index(rng.integers(chosen.size), chosen.shape)] = value
        share = rng.choice([0.0, 0.3, 0.7]) if gaps else 0.0
        left_out = [
            is_tree(self.params) and rng.random() < (0.5 if self.model.is_frozen(entry) else share)
            for entry in self.model.entries
        ]
        return in_any_order(with_gaps(grads, self.params, left_out, rng), rng)

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
        """Make a step of both; the model gets the options, or those that are `of_model`."""
        options = options or {}
        of_model = options if of_model is None else of_model
        given = flat(grads, self.params)
        expected = [None if grad is None else grad.copy() for grad in given]
        part = self.model.taking_part(given)
        self.model.lie_like(flat(self.params))
        with np.errstate(all="ignore"):
            wanted = self.model.step(given, **of_model)
        result = self.opt.step(grads, **options)
        assert_same_result(result, wanted)
        if (self.model.shared | of_model)["zero_grads"]:
            for k in part:
                expected[k][...] = 0
        assert_same_gradients(given, expected)

    def skips(self) -> bool:
        return self.model.shared["skip_nonfinite"]

    def may_accumulate(self) -> bool:
        return self.model.may_accumulate

    def heal(self, seed: int) -> None:
        """Go on with numbers where there is NaN by now, which would hide whatever comes.

        Infinities in a state alone, as Lion has them, would make loading refuse it.
        """
        entries = self.model.entries
        held = [array for entry in entries for array in (entry.p, *entry.state.values())]
        if not all(np.isfinite(array).all() for array in held):
            self.fill(seed)

    def fill(self, seed: int) -> None:
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

    # What must hold after every call

    @invariant()
    def compare(self) -> None:
        assert_alike(self.opt, self.model, self.params)


def assert_adopted(opt: Any, model: Model, state: Any) -> None:
    """Compare the arrays that an optimizer has with those that it was given: they are the same."""
    for k, entry in enumerate(model.entries):
        place = [each.name for each in model.of_group(entry.group)].index(entry.name)
        for slot in model.states:
            arrays = opt.groups[entry.group]._arrays()[slot]
            assert arrays[place] is flat(getattr(state, slot))[k]


def assert_same_gradients(given: list[Any], expected: list[Any]) -> None:
    assert [grad is None for grad in given] == [grad is None for grad in expected]
    assert_same_bits(given, expected)
