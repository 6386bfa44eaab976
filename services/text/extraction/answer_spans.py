"""Finds the best answers in the windows of a context: the token spans with the highest scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.engine.encoders.heads import Floats, softmax
from services.engine.threads.turns import give_way
from services.text.extraction.answer_pieces import ContextPieces
from services.text.understanding.ask import FoundAnswer

Integers = NDArray[np.intp]

_GROWTH = 4
"""Factor by which the number of candidate spans grows while too few of them have distinct texts."""


@dataclass(frozen=True)
class WindowScores:
    """The probabilities of each token of a window to be the first or the last of the answer.

    As in the question answering pipeline of transformers 4, they are softmaxes over the window's context tokens and
    the first token, which stands for "no answer". An answer's score is P(first token) × P(last token).
    """

    start: int
    """Index in the context of the window's first context token."""
    firsts: Floats
    lasts: Floats
    """`firsts` and `lasts` are float32, `[context tokens of the window]`."""
    none: float
    """Score of "no answer"; 0 if the model has no token for it."""

    @classmethod
    def of(cls, start: int, logits: Floats, *, has_null: bool) -> "WindowScores":
        """Makes scores from logits `[tokens, 2]`. If `has_null`, the first row is that of the "no answer" token."""
        chances = softmax(logits.T)
        null = chances[:, 0].prod() if has_null else 0.0
        firsts, lasts = chances[:, 1:] if has_null else chances
        return cls(start, firsts, lasts, float(null))


def best_answers(
    windows: Sequence[WindowScores], pieces: ContextPieces, most_tokens: int, count: int
) -> list[FoundAnswer]:
    """Returns up to `count` answers of at most `most_tokens`, best first and with distinct texts."""
    found: dict[str, FoundAnswer] = {}
    for window in windows:
        give_way()
        for answer in _of_window(window, pieces, most_tokens, count):
            if answer.text not in found or answer.score > found[answer.text].score:
                found[answer.text] = answer
    return sorted(found.values(), key=lambda answer: (-answer.score, answer.start))[:count]


def _of_window(window: WindowScores, pieces: ContextPieces, most_tokens: int, count: int) -> list[FoundAnswer]:
    tokens = len(window.firsts)
    scores = _span_scores(window, min(most_tokens, tokens))
    candidates = 2 * count + 8
    while True:
        more, first = np.divmod(_highest(scores, candidates), tokens)
        starts, ends = pieces.edges(window.start + first, window.start + first + more)
        held = np.flatnonzero(starts < ends)
        _, best = np.unique(pieces.fingerprints(starts[held], ends[held]), return_index=True)
        if len(best) >= count or candidates >= scores.size:
            break
        candidates *= _GROWTH
    chosen = held[np.sort(best)[:count]]
    values = scores[more[chosen] * tokens + first[chosen]]
    return [
        FoundAnswer(pieces.text[start:end], float(score), int(start), int(end))
        for start, end, score in zip(starts[chosen], ends[chosen], values, strict=True)
    ]


def _span_scores(window: WindowScores, most_tokens: int) -> Floats:
    """Returns the scores of all spans in a flat array: first spans of one token by position, then of two, and so on.

    Spans that would end behind the window have the score -1.
    """
    count = len(window.firsts)
    scores = np.full((most_tokens, count), -1, dtype=np.float32)
    for more in range(most_tokens):
        scores[more, : count - more] = window.firsts[: count - more] * window.lasts[more:]
    return scores.ravel()


def _highest(scores: Floats, count: int) -> Integers:
    """Returns the indices of up to `count` highest scores, best first, ties in order. Scores of -1 are left out."""
    least = np.partition(scores, -count)[-count] if count < scores.size else 0.0
    places = np.flatnonzero(scores >= max(least, 0.0))
    return places[np.argsort(-scores[places], kind="stable")][:count]
