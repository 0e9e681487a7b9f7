"""All that is measured: each row has a table of its own in the output."""

from __future__ import annotations

from fastopt.bench.dropout import DROPOUT, DropoutRow
from fastopt.bench.rules import RULES, Rule

Row = Rule | DropoutRow

ROWS: dict[str, Row] = {**RULES, DROPOUT.name: DROPOUT}
