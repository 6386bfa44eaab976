"""A day of requests, made up: what it is like is said here, not measured anywhere.

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
"""Hour, width in hours, height."""


@dataclass(frozen=True)
class Burst:
    """Adds `height` times the rate at its begin, less and less over `fade` seconds."""

    begin: float
    height: float
    fade: float

    def at(self, time: float) -> float:
        """Returns what it adds at a time."""
        return self.height * math.exp(-(time - self.begin) / self.fade) if time >= self.begin else 0.0


@dataclass(frozen=True, eq=False)
class Arrival:
    """One request. `tokens` is its work: tokens of the answer, and its prompt's share of them."""

    time: float
    tokens: float


class Trace:
    """A day by its seed. `peak` is the rate of the highest hump, requests per second, bursts not counted; `night` the
    least, as a share of that.
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
        # Bursts are highest at their begin, and the day itself is flat beside them.
        heights = [1 + sum(burst.at(begin) for burst in self.bursts) for begin in (b.begin for b in self.bursts)]
        most = self._peak * max(heights, default=1.0)
        found, time = [], 0.0
        while (time := time + draws.expovariate(most)) < self.seconds:
            if draws.random() * most < self.rate(time):
                found.append(Arrival(time, _tokens(draws)))
        return found


def _tokens(draws: random.Random) -> float:
    """Returns the tokens of an answer: median 180, one in twenty from the tail; and a fiftieth of a prompt's."""
    answer = draws.lognormvariate(math.log(180), 0.9) if draws.random() < 0.95 else 600 * draws.paretovariate(1.3)
    prompt = min(draws.lognormvariate(math.log(700), 1.0), 16_000)
    return min(max(answer, 1.0), MOST_TOKENS) + prompt / 50
