"""Steps, and the sums of gradients that steps are made of."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine import (
    Machine,
    assert_same_gradients,
    mask_forms,
    perhaps_infinite,
    scales,
    seeds,
    weights,
)
from optimizer_twins import assert_same_result, flat
from refused_calls import is_refused


class Steps(Machine):
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
    @rule(data=st.data(), seed=seeds, value=perhaps_infinite)
    def step_with_numbers(self, data: Any, seed: int, value: float | None) -> None:
        """Give numbers for one step, in place of those of all groups."""
        numbers = data.draw(self.design.step_options(self.model.averages))
        if not numbers.get("skip_nonfinite", self.skips()):
            value = None
        self.compare_step(self.gradients(seed, value), numbers)

    @precondition(lambda self: not self.model.waiting)
    @rule(seed=seeds, lr=st.sampled_from([0.5, np.float32(0.1)]))
    def step_in_place_of_schedules(self, seed: int, lr: float) -> None:
        """Show that schedules that a number takes the place of are not asked."""
        asked: list[int] = []
        before = [group["lr"] for group in self.opt.groups]
        for group in self.opt.groups:
            group["lr"] = lambda step: asked.append(step) or 0.25
        asked.clear()
        self.compare_step(self.gradients(seed), {"lr": lr})
        assert not asked
        for group, value in zip(self.opt.groups, before, strict=True):
            group["lr"] = value

    @precondition(lambda self: not self.model.waiting)
    @rule(seed=seeds, value=st.sampled_from([np.inf, -np.inf, np.nan]))
    def step_that_is_not_finite(self, seed: int, value: float) -> None:
        self.compare_step(self.gradients(seed, value))
        self.compare()
        self.heal(seed)

    @rule(seed=seeds)
    def write(self, seed: int) -> None:
        self.fill(seed)

    # Accumulation

    @precondition(lambda self: self.may_accumulate())
    @rule(seed=seeds, count=st.integers(1, 3), weight=weights, value=perhaps_infinite)
    def accumulate(self, seed: int, count: int, weight: float, value: float | None) -> None:
        for number in range(count):
            is_last = number == count - 1
            grads = self.gradients(seed + number, value if is_last and self.skips() else None)
            given = flat(grads, self.params)
            before = copy.deepcopy(given)
            more = {} if weight == 1 else {"weight": weight}
            self.model.accumulate(given, **more)
            self.opt.accumulate(grads, **more)
            self.compare()
            assert_same_gradients(given, before)

    @precondition(lambda self: not self.may_accumulate())
    @rule()
    def accumulate_while_others_are_frozen(self) -> None:
        assert is_refused(lambda: self.opt.accumulate(self.gradients(0)))
        assert is_refused(self.opt.step)

    @precondition(lambda self: self.may_accumulate())
    @rule(
        seed=seeds,
        count=st.integers(1, 3),
        weight=weights,
        value=perhaps_infinite,
        grad_scale=scales,
    )
    def accumulate_and_step(
        self, seed: int, count: int, weight: float, value: float | None, grad_scale: float
    ) -> None:
        self.accumulate(seed, count, weight, value)
        self.step_of_the_sum_with_options(seed, grad_scale, (None, None))

    @precondition(lambda self: self.model.waiting and self.may_accumulate())
    @rule()
    def a_step_of_the_sum(self) -> None:
        self.step_of_the_sum_with_options(self.model.step_count, 1.0, (None, None))

    @precondition(lambda self: self.model.waiting and self.may_accumulate())
    @rule(seed=seeds, grad_scale=scales, forms=st.tuples(mask_forms, mask_forms))
    def step_of_the_sum_with_options(self, seed: int, grad_scale: float, forms: Any) -> None:
        options, of_model = self.masks(forms, 0.5, seed)
        more = {"grad_scale": grad_scale}
        self.compare_step_of_the_sum(seed, options | more, of_model | more)

    @precondition(lambda self: self.model.waiting and self.may_accumulate())
    @rule(data=st.data(), seed=seeds)
    def step_of_the_sum_with_numbers(self, data: Any, seed: int) -> None:
        numbers = data.draw(self.design.step_options(self.model.averages))
        self.compare_step_of_the_sum(seed, numbers, numbers)

    def compare_step_of_the_sum(self, seed: int, options: Any, of_model: Any) -> None:
        self.model.lie_like(flat(self.params))
        with np.errstate(all="ignore"):
            wanted = self.model.step_of_sum(**of_model)
        assert_same_result(self.opt.step(**options), wanted)
        self.compare()
        self.heal(seed)

    @rule()
    def discard_accumulated(self) -> None:
        self.model.discard()
        self.opt.discard_accumulated()
