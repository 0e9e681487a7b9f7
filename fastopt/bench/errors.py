"""What must not go wrong."""

from __future__ import annotations


class WrongAnswerError(Exception):
    """The kernels do not compute what the reference computes."""


class DisagreementError(Exception):
    """A peer does not compute the same."""
