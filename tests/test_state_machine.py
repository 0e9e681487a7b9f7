"""Hypothesis looks for a sequence of calls after which an optimizer and the model of it differ."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from machine import assert_same_gradients, seeds
from machine_changes import Changes
from machine_saving import Saving
from optimizer_twins import flat
from refused_arrays import OTHER_ARRAYS
from refused_calls import REFUSED, is_refused


class OptimizerMachine(Changes, Saving):
    @rule(data=st.data(), seed=seeds)
    def refused(self, data: Any, seed: int) -> None:
        self.refuse(data, seed, REFUSED)

    @rule(data=st.data(), seed=seeds)
    def refused_arrays(self, data: Any, seed: int) -> None:
        self.refuse(data, seed, OTHER_ARRAYS)

    def refuse(self, data: Any, seed: int, calls: Any) -> None:
        possible = [name for name, (applies, _) in calls.items() if applies(self)]
        for name in data.draw(st.lists(st.sampled_from(possible), max_size=8, unique=True)):
            grads = self.gradients(seed, gaps=False)
            before = copy.deepcopy(grads)
            _, call = calls[name]
            assert is_refused(partial(call, self, grads)), name
            assert_same_gradients(flat(grads, self.params), flat(before, self.params))


TestOptimizers = OptimizerMachine.TestCase
TestOptimizers.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
