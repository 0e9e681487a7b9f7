"""What must not go wrong."""

from __future__ import annotations


class WrongAnswerError(Exception):
    """The kernels do not compute what the reference computes."""
