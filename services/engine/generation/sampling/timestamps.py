"""The timestamp tokens of a vocabulary, torch-free."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TimestampRule:
    """Which tokens are timestamps: all from `first_id` on."""

    first_id: int
    """The token of time 0."""
    none_id: int
    """The token for an output without timestamps."""
    end_id: int
    """The end of sequence; all words are below it."""
    most_at_first: int | None = None
    """The latest timestamp with which an output may begin, in steps; None: any."""
