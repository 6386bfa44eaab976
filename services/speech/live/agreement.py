"""Local agreement: words on which three readings in a row of a growing utterance agree become stable.

After Liu, Spanakis and Niehues, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
Hypothesis Selection" (2020).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from services.speech.live.reading import Word

_READINGS = 3
"""Agreement of only two readings was wrong often enough to raise the error rate."""
_SAME_SECONDS = 0.5
"""Words whose starts differ by more are different words, even with equal text."""


@dataclass(frozen=True)
class Hypothesis:
    """The current transcript of an utterance."""

    words: Sequence[Word]
    stable_count: int
    """Number of leading words that will not change."""
    stability: float | None
    """Share of the other words that the previous reading had too, in [0, 1]; None for the first reading."""


class Agreement:
    """Compares the readings of one utterance, each of a longer beginning of it."""

    def __init__(self) -> None:
        self._stable: list[Word] = []
        self._rests: deque[list[Word]] = deque(maxlen=_READINGS - 1)
        """What followed the stable words in the latest readings."""

    def take(self, words: Sequence[Word], until: float, *, uncut: bool = True) -> Hypothesis:
        """Takes the next reading. Words that end after `until` seconds cannot become stable yet.

        `uncut` says that a cut can move nothing of this audio to the next utterance. If it can, words without times
        cannot become stable: they may be in what it moves, and the next utterance would repeat them.
        """
        found = behind(self._stable, words)
        agreed = [_common(rest, found) for rest in self._rests]
        stable = min(agreed) if len(agreed) == _READINGS - 1 else 0
        while stable and _may_change(found[stable - 1], until, last=stable == len(found) or not uncut):
            stable -= 1
        self._stable += found[:stable]
        rest = found[stable:]
        self._rests.append(found)
        for i, each in enumerate(self._rests):
            self._rests[i] = each[stable:]
        stability = (agreed[-1] - stable) / len(rest) if agreed and rest else 1.0 if agreed else None
        return Hypothesis([*self._stable, *rest], len(self._stable), stability)

    def close(self, words: Sequence[Word]) -> list[Word]:
        """Takes the reading of the whole utterance and returns the final words, which begin with the stable ones."""
        if [word.text for word in words[: len(self._stable)]] == [word.text for word in self._stable]:
            return list(words)
        return [*self._stable, *behind(self._stable, words)]


def behind(stable: Sequence[Word], words: Sequence[Word]) -> list[Word]:
    """Returns the words that follow the stable ones: those after the prefix with the least edit distance to them.

    Among prefixes of equal distance, the one that ends closest to the stable words' end wins.
    """
    costs = list(range(len(words) + 1))
    for i, word in enumerate(stable, 1):
        row = [i]
        for j, other in enumerate(words, 1):
            row.append(min(costs[j] + 1, row[j - 1] + 1, costs[j - 1] + (word.text != other.text)))
        costs = row
    end = stable[-1].end if stable else 0.0

    def rank(count: int) -> tuple[int, float]:
        reached = words[count - 1].end if count else 0.0
        return costs[count], 0.0 if reached is None or end is None else abs(reached - end)

    return list(words[min(range(len(words) + 1), key=rank) :])


def _common(before: Sequence[Word], now: Sequence[Word]) -> int:
    count = 0
    for old, new in zip(before, now, strict=False):
        apart = 0.0 if old.start is None or new.start is None else abs(old.start - new.start)
        if old.text != new.text or apart > _SAME_SECONDS:
            break
        count += 1
    return count


def _may_change(word: Word, until: float, *, last: bool) -> bool:
    """Returns whether more audio may still change a word: one that ends after `until`; without times, if `last`."""
    return last if word.end is None else word.end > until
