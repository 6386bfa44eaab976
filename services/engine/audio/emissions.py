"""Turns the tokens of frames into text and timed words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from services.engine.audio.words import TimedWord
from services.engine.threads.turns import resting

_WORD_BEGINS = ("▁", "Ġ")
"""Prefixes that mark the beginning of a word in tokens of SentencePiece and of byte-level BPE."""


@dataclass(frozen=True)
class Emission:
    """A token that was emitted over one or several consecutive frames."""

    token_id: int
    start: int
    """First frame."""
    end: int
    """The frame after the last one."""
    log_probability: float
    """The highest of its frames."""


def emissions(ids: NDArray[np.int64], log_probabilities: NDArray[np.float32], blank: int) -> list[Emission]:
    """Collapses CTC tokens `[frames]`: merges runs of equal tokens, then drops blanks."""
    if not len(ids):
        return []
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    ends = np.append(starts[1:], len(ids))
    surest = np.maximum.reduceat(log_probabilities, starts)
    runs = zip(ids[starts].tolist(), starts.tolist(), ends.tolist(), surest.tolist(), strict=True)
    return [Emission(*run) for run in runs if run[0] != blank]


class EmissionReader:
    """Turns emissions into text with the checkpoint's tokenizer. May be used by any thread."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seconds_per_frame: float, writes_special: bool) -> None:
        self._tokenizer: Any = tokenizer
        self._seconds = seconds_per_frame
        self._skips = not writes_special
        self._delimiter: str | None = getattr(tokenizer, "word_delimiter_token", None)

    def text(self, emitted: Sequence[Emission]) -> str:
        """Returns the text."""
        ids = [each.token_id for each in emitted]
        return self._tokenizer.decode(ids, group_tokens=False, skip_special_tokens=self._skips).strip()

    def words(self, emitted: Sequence[Emission], seconds: float) -> list[TimedWord]:
        """Returns words from the start of their first token to the end of their last, clipped to `seconds`.

        A word's log-probability is the mean over its tokens.
        """
        found: list[TimedWord] = []
        for group in resting(self._grouped(emitted)):
            if text := self.text(group):
                mean = math.fsum(each.log_probability for each in group) / len(group)
                # The last frame may reach beyond the audio's end.
                start, end = (min(frame * self._seconds, seconds) for frame in (group[0].start, group[-1].end))
                found.append(TimedWord(text, start, end, mean, len(group)))
        return found

    def _grouped(self, emitted: Sequence[Emission]) -> list[list[Emission]]:
        tokens: list[str] = self._tokenizer.convert_ids_to_tokens([each.token_id for each in emitted])
        groups: list[list[Emission]] = [[]]
        for each, token in zip(emitted, tokens, strict=True):
            if token == self._delimiter:
                groups.append([])
            elif self._delimiter is None and token.startswith(_WORD_BEGINS):
                groups.append([each])
            else:
                groups[-1].append(each)
        return [group for group in groups if group]
