"""Which rules stand for the others, but where a run of the tests is about all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cases import KINDS, Case

from fastopt.rules import RULES

FURTHER_KINDS = {
    "adan": "four arrays",
    "nadam": "a number for each array",
    "schedulefree_adamw": "several numbers, and an array that begins at the parameters",
    "prodigy": "sums and numbers of all arrays",
    "adafactor": "means of rows and columns",
    "rowwise_adagrad": "means of rows",
    "muon": "products of matrices, and groups of two rules",
}
"""Besides those that all terms are tested with."""
ONE_OF_EACH_KIND = {case.rule for case in KINDS} | FURTHER_KINDS.keys()
RULE_OF = {name: name for name in RULES} | {
    cls.__name__: name for name, rule in RULES.items() for cls in rule.optimizers
}


def rules_of(item: pytest.Item) -> Iterator[str]:
    """Return the rules that the parameters of a test name."""
    callspec = getattr(item, "callspec", None)
    for value in callspec.params.values() if callspec else ():
        if isinstance(value, Case):
            yield value.rule
        name = value.__name__ if isinstance(value, type) else value
        if isinstance(name, str) and name in RULE_OF:
            yield RULE_OF[name]


def is_of_others(item: pytest.Item) -> bool:
    """Tell whether a test is about rules, and about none of those that stand for the others."""
    rules = set(rules_of(item))
    return bool(rules) and not rules & ONE_OF_EACH_KIND
