"""Finds the best answers on a page: the spans of words with the highest scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.engine.encoders.heads import Floats, softmax

Integers = NDArray[np.intp]


@dataclass(frozen=True)
class WordSpan:
    """A span of words: the indices of its first and last word, and its score."""

    first: int
    last: int
    score: float


@dataclass(frozen=True)
class WindowWords:
    """The probabilities of the words of one window to be the first or the last of the answer.

    As in transformers' pipeline, they are softmaxes over the window's page tokens and the first token, which stands
    for "no answer". A span scores P(first token) × P(last token); of a word's tokens, the best one counts.
    """

    words: Integers
    """Indices of the words that have a token in the window, ascending, `[words]`."""
    firsts: Floats
    lasts: Floats
    alone: Floats
    """Score of each word as the whole answer, with its first token not after its last."""

    @classmethod
    def of(cls, logits: Floats, word_of: Sequence[int], *, has_null: bool) -> "WindowWords":
        """Makes one from the tokens' logits `[tokens, 2]`. If `has_null`, those of the "no answer" token come first."""
        chances = softmax(logits.T)
        firsts, lasts = chances[:, 1:] if has_null else chances
        words, starts = np.unique(np.array(word_of, dtype=np.intp), return_index=True)
        best = [
            float((np.maximum.accumulate(first) * last).max())
            for first, last in zip(np.split(firsts, starts[1:]), np.split(lasts, starts[1:]), strict=True)
        ]
        return cls(
            words,
            np.maximum.reduceat(firsts, starts),
            np.maximum.reduceat(lasts, starts),
            np.array(best, dtype=np.float32),
        )

    def best(self, most_words: int, count: int) -> list[WordSpan]:
        """Returns up to `count` best spans of at most `most_words` words."""
        size = len(self.words)
        scores = np.outer(self.firsts, self.lasts)
        np.fill_diagonal(scores, self.alone)
        length = self.words[None, :] - self.words[:, None]
        scores[(length < 0) | (length >= most_words)] = -1
        flat = scores.ravel()
        chosen = np.argsort(-flat, kind="stable")[:count]
        return [
            WordSpan(int(self.words[place // size]), int(self.words[place % size]), float(flat[place]))
            for place in chosen
            if flat[place] >= 0
        ]


def best_spans(windows: Sequence[WindowWords], most_words: int, count: int) -> list[WordSpan]:
    """Returns up to `count` best spans of all windows, without duplicates."""
    found: dict[tuple[int, int], WordSpan] = {}
    for window in windows:
        for span in window.best(most_words, count):
            known = found.get((span.first, span.last))
            if known is None or span.score > known.score:
                found[span.first, span.last] = span
    return sorted(found.values(), key=lambda span: (-span.score, span.first, span.last))[:count]
