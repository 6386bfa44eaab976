"""Measures at load which of several equivalent implementations is fastest on this GPU."""

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

import torch

log = logging.getLogger(__name__)

Clock = Callable[[], float]
"""Runs the work once and returns its GPU time in seconds."""

_TURNS, _ROUNDS = 3, 5

Way = TypeVar("Way", bound=Hashable)


def entered(ways: Iterable[Way], enter: Callable[[Way], Clock], until: float) -> dict[Way, Clock]:
    """Prepares (compiles) each way and returns the clocks of those that work and start before `until` (monotonic)."""
    clocks: dict[Way, Clock] = {}
    for way in ways:
        if time.monotonic() >= until:
            log.info("no time is left to try %s", way)
            continue
        try:
            clocks[way] = enter(way)
        except Exception as error:  # compilers raise any kind of exception
            log.info("%s is not tried: %s", way, error)
    return clocks


def least(clocks: Mapping[Way, Clock]) -> dict[Way, float]:
    """Returns the least time of each way. They run by turns, since the GPU's clock rate changes."""
    turns = [{way: clock() for way, clock in clocks.items()} for _ in range(_TURNS)]
    return {way: min(turn[way] for turn in turns) for way in clocks}


def fastest(times: Mapping[Way, float], own: Way, gain: float) -> Way:
    """Returns the fastest way if it saves more than the share `gain` of `own`'s time; otherwise `own`."""
    best = min(times, key=lambda way: times[way])
    return best if times[best] < times[own] * (1 - gain) else own


def replay_seconds(graph: torch.cuda.CUDAGraph) -> float:
    """Returns the least GPU seconds of several replays of a graph, which exclude the cost of launching kernels."""
    return min(_seconds(graph) for _ in range(_ROUNDS))


def _seconds(graph: torch.cuda.CUDAGraph) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000
