"""How many prompt tokens a step may take along, so that the streams beside them keep their pace."""

from collections import defaultdict, deque
from statistics import median

_RECENT = 16
_FLOOR = 16
"""Prompt tokens that every step may take: fewer would cost more than they spare."""
_URGENCY = 4
"""Rows that decode for each prompt that may wait behind the first before steps grow."""
_UNKNOWN = 32
"""Prompt tokens beside streams before it is known how long a step takes."""


class PrefillBudget:
    """Learns from the steps' durations. Belongs to the engine's thread.

    A step that computes part of a prompt beside rows that decode takes at most `slowdown` times as long as one that
    only decodes. Where other prompts wait behind the first, more than one for four rows that decode, it takes longer in
    proportion, for else they would wait much longer than they are worked on. While nothing decodes, a step takes `most`
    tokens.
    """

    def __init__(self, most: int, slowdown: float) -> None:
        self._most = most
        self._extra = slowdown - 1
        # By the magnitude of the number of rows. Medians of a few, as a busy machine holds up single steps.
        self._decode: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=_RECENT))
        self._token: deque[float] = deque(maxlen=_RECENT)

    def tokens(self, decode_count: int, prompt_count: int) -> int:
        """Returns how many prompt tokens the next step may take beside `decode_count` rows; `prompt_count` wait."""
        if decode_count == 0:
            return self._most
        decode = self._decode[decode_count.bit_length()]
        if not decode or not self._token:
            return min(_UNKNOWN, self._most)
        seconds = self._extra * median(decode) * max(_URGENCY * (prompt_count - 1) / decode_count, 1.0)
        return min(max(int(seconds / median(self._token)), _FLOOR), self._most)

    def observe(self, decode_count: int, token_count: int, seconds: float) -> None:
        """Notes how long a step took that decoded for some rows and computed `token_count` tokens of prompts."""
        decode = self._decode[decode_count.bit_length()]
        if token_count == 0:
            decode.append(seconds)
        elif token_count >= _FLOOR and (decode or decode_count == 0):
            beside = median(decode) if decode_count else 0.0
            self._token.append(max(seconds - beside, 0.05 * seconds) / token_count)
