"""Figures as a person reads them in a table."""

from rich.text import Text

NOTHING = "–"
"""What is shown where there is no figure."""

_BAR = 10
_FULL = 1.0
_BUSY = 0.7


def number(value: float | None) -> str:
    """Returns a number, with a decimal where it is small and not whole."""
    if value is None:
        return NOTHING
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def share(value: float | None) -> str:
    """Returns a share in per cent."""
    return NOTHING if value is None else f"{value:.1%}"


def seconds(value: float | None) -> str:
    """Returns seconds, or milliseconds where they are few."""
    if value is None:
        return NOTHING
    return f"{value:.1f}s" if value >= 1 else f"{value * 1000:.0f}ms"


def bar(load: float) -> Text:
    """Returns a bar that is full at 1, and the figure beside it."""
    filled = min(round(load * _BAR), _BAR)
    colour = "red" if load >= _FULL else "yellow" if load >= _BUSY else "green"
    return Text.assemble(("█" * filled, colour), ("░" * (_BAR - filled), "dim"), f" {load:4.0%}")
