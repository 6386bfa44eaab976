"""Generates a synthetic day of requests: an assumption, not a measurement.

The rate follows the working day of one region (two humps and an evening, little at night), with bursts that arrive at
random, double to quadruple the rate and fade over minutes. Requests arrive one by one (Poisson). Answers are short in
the median and have a heavy tail (lognormal body, Pareto tail, cut off at the model's limit).
"""

import math
import random
from dataclasses import dataclass

DAY = 86_400.0
MOST_TOKENS = 4096
_HUMPS = ((10.5, 2.2, 1.0), (15.0, 2.6, 0.95), (21.0, 1.6, 0.45))
"""Humps of the day's rate: hour, width in hours, height."""


@dataclass(frozen=True)
class Burst:
    """A burst: adds `height` times the rate at its start, fading over `fade` seconds."""

    begin: float
    height: float
    fade: float

    def at(self, time: float) -> float:
        """Returns what the burst adds at a time."""
        return self.height * math.exp(-(time - self.begin) / self.fade) if time >= self.begin else 0.0


@dataclass(frozen=True, eq=False)
class Arrival:
    """One request. `tokens` is its work: the answer's tokens, plus the prompt's cost in the same unit."""

    time: float
    tokens: float


class Trace:
    """A random day, fixed by its seed. `peak` is the highest rate without bursts, in requests per second; `night` is
    the lowest rate, as a share of `peak`.
    """

    def __init__(self, seed: int, peak: float, hours: float = 24.0, bursts: int = 8, night: float = 0.1) -> None:
        self.seconds = hours * 3600
        self._peak, self._night = peak, night
        draws = random.Random(seed)
        self.bursts = tuple(
            Burst(draws.uniform(0, self.seconds), draws.uniform(1, 3), draws.uniform(120, 480)) for _ in range(bursts)
        )
        self.arrivals = self._arrivals(draws)

    def rate(self, time: float) -> float:
        """Returns the expected requests per second at a time."""
        return self._day(time) * (1 + sum(burst.at(time) for burst in self.bursts))

    def _day(self, time: float) -> float:
        hour = time % DAY / 3600
        humps = (height * math.exp(-(((hour - at) / width) ** 2)) for at, width, height in _HUMPS)
        return self._peak * min(self._night + sum(humps), 1.0)

    def _arrivals(self, draws: random.Random) -> list[Arrival]:
        # Bursts are highest at their start; beside them the rate of the day hardly changes.
        heights = [1 + sum(burst.at(begin) for burst in self.bursts) for begin in (b.begin for b in self.bursts)]
        most = self._peak * max(heights, default=1.0)
        found, time = [], 0.0
        while (time := time + draws.expovariate(most)) < self.seconds:
            if draws.random() * most < self.rate(time):
                found.append(Arrival(time, _tokens(draws)))
        return found


def _tokens(draws: random.Random) -> float:
    """Draws the work of a request: an answer (median 180, one in twenty from the tail) and 1/50 of its prompt."""
    answer = draws.lognormvariate(math.log(180), 0.9) if draws.random() < 0.95 else 600 * draws.paretovariate(1.3)
    prompt = min(draws.lognormvariate(math.log(700), 1.0), 16_000)
    return min(max(answer, 1.0), MOST_TOKENS) + prompt / 50
