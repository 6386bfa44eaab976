"""How fast tokens come while all rows decode."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from statistics import fmean


@dataclass(frozen=True)
class Steady:
    """Between the last row's first token and the first row's last one."""

    tokens_per_second: float = 0.0
    """0 if there was no such time."""
    tokens_before: float = 0.0
    """Generated tokens in front of one that came then, on average."""


def steady(arrivals: Collection[list[float]]) -> Steady:
    """Returns the rate at which tokens came, whose seconds `arrivals` tells for each row.

    Of each row it is counted from the first to the last message that came within that time. Where messages hold several
    tokens, those in a row's first were made before it; and what the last messages hold comes a moment too late of all
    rows but one, though it was made in time: of 384 tokens in messages of 13, two in a hundred.
    """
    begin, end = max(times[0] for times in arrivals), min(times[-1] for times in arrivals)
    rows = [[place for place, time in enumerate(times) if begin <= time <= end] for times in arrivals]
    rate, counted = 0.0, list[list[int]]()
    for times, places in zip(arrivals, rows, strict=True):
        if not places or times[places[0]] == times[places[-1]]:
            return Steady()
        first, last = times[places[0]], times[places[-1]]
        counted.append([place for place in places if times[place] > first])
        rate += len(counted[-1]) / (last - first)
    return Steady(rate, fmean(chain.from_iterable(counted)))
