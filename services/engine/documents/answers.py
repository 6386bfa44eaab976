"""Answers among the words of a page: which stretches of words are likeliest to be one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.engine.encoders.heads import Floats, softmax

Integers = NDArray[np.intp]


@dataclass(frozen=True)
class WordSpan:
    """Some words in a row."""

    first: int
    last: int
    score: float


@dataclass(frozen=True)
class WindowWords:
    """How likely the words of one window are the first and the last of the answer.

    As transformers' pipeline has it: a softmax over the window's tokens of the page and its first token, which stands
    for no answer; a stretch scores its first token's probability times its last's. Of a word's tokens, the best count.
    """

    words: Integers
    """Indices of the words, in order: those of which a token is in the window."""
    firsts: Floats
    lasts: Floats
    alone: Floats
    """Score of each word as the whole answer, whose first token is not behind its last."""

    @classmethod
    def of(cls, logits: Floats, word_of: Sequence[int], *, has_null: bool) -> "WindowWords":
        """Returns them for logits `[tokens, 2]` of the first token, if that stands for no answer, and of the words."""
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
        """Returns the best stretches of at most `most_words` words; fewer than `count` if there are no more."""
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
    """Returns the best stretches of all windows, each once; fewer than `count` if there are no more."""
    found: dict[tuple[int, int], WordSpan] = {}
    for window in windows:
        for span in window.best(most_words, count):
            known = found.get((span.first, span.last))
            if known is None or span.score > known.score:
                found[span.first, span.last] = span
    return sorted(found.values(), key=lambda span: (-span.score, span.first, span.last))[:count]
