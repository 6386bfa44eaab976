"""Tokens that stand for times, torch-free."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TimestampRule:
    """Which tokens stand for times: all from the first on."""

    first_id: int
    """Of the time 0."""
    none_id: int
    """Says that there are none."""
    end_id: int
    """The end of sequence; all words are below it."""
    most_at_first: int | None = None
    """The latest time with which an output may begin, in steps."""
