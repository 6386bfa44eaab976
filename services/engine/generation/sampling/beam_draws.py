"""Draws continuations of beams without replacement, as `torch.multinomial`, but with keyed draws."""

import torch
from torch import Tensor

from services.engine.generation.sampling.draws import uniform

_NEVER = float("-inf")
_WORN = 1e-6
"""When less than this share of the probability is left, its sum is computed anew, as running sums round."""


def draw_places(scores: Tensor, count: int, seed: int, position: int) -> list[int]:
    """Returns `count` indices of `scores` `[n]`, drawn without replacement with probabilities softmax(scores).

    Fewer if fewer are above minus infinity. Draw `i` depends on (seed, position, i).
    """
    places = (scores > _NEVER).nonzero().flatten()
    left = scores[places].double()
    count = min(count, len(places))
    draws = uniform([seed] * count, [position] * count, [*range(count)])
    drawn: list[int] = []
    while len(drawn) < count:
        cumulative = torch.softmax(left, dim=0).cumsum(dim=0)
        total = mass = float(cumulative[-1])
        gaps: list[tuple[float, float]] = []  # where a drawn place began, and how wide it was
        while len(drawn) < count and mass > _WORN * total:
            target = float(draws[len(drawn)]) * mass
            for start, width in sorted(gaps):
                target += width if target >= start else 0.0
            place = min(int(torch.searchsorted(cumulative, target, right=True)), len(left) - 1)
            if left[place] == _NEVER:
                place = int(left.argmax())  # rounding has hit the border of a gap
            start = float(cumulative[place - 1]) if place else 0.0
            gaps.append((start, float(cumulative[place]) - start))
            mass -= gaps[-1][1]
            left[place] = _NEVER
            drawn.append(place)
    return places[drawn].tolist()
