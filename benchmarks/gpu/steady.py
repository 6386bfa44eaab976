"""How fast tokens come while all rows decode."""

from collections.abc import Collection
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Steady:
    """Between the last row's first token and the first row's last one."""

    tokens_per_second: float = 0.0
    """0 if there was no such time."""
    tokens_before: float = 0.0
    """Generated tokens in front of one that came then, on average."""


def steady(arrivals: Collection[list[float]]) -> Steady:
    """Returns the rate at which tokens came, whose seconds `arrivals` tells for each row."""
    begin, end = max(times[0] for times in arrivals), min(times[-1] for times in arrivals)
    places = [place for times in arrivals for place, time in enumerate(times) if begin < time <= end]
    return Steady(len(places) / (end - begin), fmean(places)) if begin < end else Steady()
