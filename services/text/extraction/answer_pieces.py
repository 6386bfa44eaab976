"""Turns spans of tokens of a context into answer texts, extended to whole words."""

import unicodedata

import numpy as np
from numpy.typing import NDArray

from services.engine.encoders.tokens import TextTokens
from services.engine.threads.turns import give_way, resting

Integers = NDArray[np.intp]

_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x10FFFF))
"""Code points of scripts without spaces between words: Thai and Lao, Burmese, Khmer, and those of East Asia."""
_WORD = "LMN"
"""First letters of the Unicode categories of characters in words: letters, marks, numbers."""
_BASE = 0x9E3779B97F4A7C15


class ContextPieces:
    """A context and its tokens. A span's text is extended to whole words, because a token may be part of a word.

    Surrounding whitespace is stripped. In scripts without spaces between words, a span is not extended.
    """

    def __init__(self, text: str, tokens: TextTokens) -> None:
        """`tokens` are those of the context only, and have offsets."""
        assert tokens.offsets is not None
        self.text = text
        points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        offsets = np.array(tokens.offsets, dtype=np.intp).reshape(-1, 2)
        inside = np.array([unicodedata.category(character)[0] in _WORD for character in resting(text)], dtype=bool)
        for low, high in _UNSPACED:
            inside &= (points < low) | (points > high)
        starts, ends = _whole_words(offsets, inside)
        ink = np.flatnonzero([not character.isspace() for character in resting(text)])
        give_way()
        self._starts = np.append(ink, len(text))[np.searchsorted(ink, starts)]
        self._ends = np.insert(ink + 1, 0, 0)[np.searchsorted(ink, ends)]
        powers = np.cumprod(np.full(len(text), _BASE, dtype=np.uint64))
        self._inverses = np.cumprod(np.full(len(text) + 1, pow(_BASE, -1, 1 << 64), dtype=np.uint64))
        self._sums = np.insert(np.cumsum((points + np.uint64(1)) * powers), 0, 0).astype(np.uint64)

    @property
    def is_blank(self) -> bool:
        """Whether every span is empty or whitespace."""
        return not (self._starts < self._ends).any()

    def edges(self, first: Integers, last: Integers) -> tuple[Integers, Integers]:
        """Returns the start and end, in code points, of the texts of spans, given their first and last tokens.

        If a span's text is empty, its start is not less than its end.
        """
        return self._starts[first], self._ends[last]

    def fingerprints(self, starts: Integers, ends: Integers) -> NDArray[np.uint64]:
        """Returns a hash of the text between each start and end. Equal texts have equal hashes."""
        return (self._sums[ends] - self._sums[starts]) * self._inverses[starts]


def _whole_words(offsets: Integers, inside: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Returns token starts and ends, moved outwards to word edges; `inside` marks the characters of words."""
    begins = inside & ~np.insert(inside[:-1], 0, False)[: len(inside)]
    runs = np.flatnonzero(begins)
    stops = np.flatnonzero(inside & ~np.append(inside[1:], False)[: len(inside)]) + 1
    starts, ends = offsets[:, 0].copy(), offsets[:, 1].copy()
    if len(runs):
        of_start = np.maximum(np.searchsorted(runs, starts, side="right") - 1, 0)
        within = (runs[of_start] < starts) & (starts < stops[of_start])
        starts[within] = runs[of_start[within]]
        of_end = np.maximum(np.searchsorted(runs, ends, side="left") - 1, 0)
        within = (runs[of_end] < ends) & (ends < stops[of_end])
        ends[within] = stops[of_end[within]]
    return starts, ends
