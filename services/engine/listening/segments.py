"""Splits the tokens of a window into timed segments, and finds where the next window begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SECONDS_PER_TIME = 0.02
"""Resolution of timestamp tokens."""
FRAMES_PER_TIME = 2
"""Feature frames per timestamp step."""


@dataclass(frozen=True)
class Stretch:
    """One segment: `tokens[first:end]` of a window, with times in seconds from the window's beginning."""

    first: int
    end: int
    start_seconds: float
    end_seconds: float


def stretches(tokens: Sequence[int], first_time: int, frames: int) -> tuple[list[Stretch], int]:
    """Returns the segments of a window of `frames`, and how many frames they complete.

    Two adjacent timestamps separate segments. Tokens after the last such pair belong to the next window, unless a
    single timestamp ends them: then nobody speaks after it. `tokens` exclude the end of sequence; `first_time` is the
    first timestamp token.
    """
    is_time = [token >= first_time for token in tokens]
    cuts = [i + 1 for i in range(len(tokens) - 1) if is_time[i] and is_time[i + 1]]
    if not cuts:
        return [_whole(tokens, is_time, first_time, frames)], frames
    closed = is_time[-2:] == [False, True]
    bounds = [0, *cuts, *([len(tokens)] if closed else [])]
    found: list[Stretch] = []
    for first, end in pairwise(bounds):
        times = (tokens[place] - first_time for place in (first, end - 1))
        start_seconds, end_seconds = (max(time, 0) * SECONDS_PER_TIME for time in times)
        found.append(Stretch(first, end, start_seconds, end_seconds))
    done = frames if closed else (tokens[cuts[-1] - 1] - first_time) * FRAMES_PER_TIME
    return found, done


def _whole(tokens: Sequence[int], is_time: Sequence[bool], first_time: int, frames: int) -> Stretch:
    last = frames // FRAMES_PER_TIME
    times = [token for token, known in zip(tokens, is_time, strict=True) if known]
    if times and times[-1] != first_time:
        last = times[-1] - first_time
    return Stretch(0, len(tokens), 0.0, last * SECONDS_PER_TIME)
