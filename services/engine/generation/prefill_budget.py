"""How many prompt tokens a step may take along, so that the streams beside them keep their pace."""

from collections import deque
from collections.abc import Sequence
from statistics import median

_RECENT = 16
_FLOOR = 16
"""Prompt tokens that every step may take: fewer would cost more than they spare."""
_ALONE_SECONDS = 0.1
"""Length of a step that only reads prompts. Whoever arrives meanwhile, and whoever is answered, waits for its end."""
_LEAST_ALONE = 64
"""Prompt tokens of such a step at least: fewer would leave a processor without enough to do."""
_PATIENCE = 0.75
"""Seconds of work on prompts behind the first for which a step reads as long as it takes all rows to decode."""
_HASTE = 3.0
"""How many times as long it reads at most for what waits: streams that have to go on take turns with those to come."""
_UNKNOWN_ALONE, _UNKNOWN_BESIDE = 256, 32
"""Prompt tokens of a step, alone or beside streams, before it is known how long a token takes."""


class PrefillBudget:
    """Learns from the steps' durations. Belongs to the engine's thread.

    A step that reads part of a prompt beside streams takes at most `slowdown` times as long as one in which all decode,
    the streams and those that wait for their prompts. Where much work waits behind the first prompt, it takes longer:
    streams are slowed down for others that want an answer, but not for one long prompt. No step takes more than `most`
    tokens.

    A step is taken to last a constant time and the same time for each token, be it decoded or read. Both are medians
    of what the last steps showed, as a busy machine holds up single ones.
    """

    def __init__(self, most: int, slowdown: float) -> None:
        self._most = most
        self._slowdown = slowdown
        self._constants: deque[float] = deque(maxlen=_RECENT)
        self._tokens: deque[float] = deque(maxlen=_RECENT)

    def tokens(self, decode_count: int, prompts: Sequence[int]) -> int:
        """Returns how many prompt tokens the next step may take beside `decode_count` rows.

        `prompts` tells how many tokens are left of each prompt that could be read, the next one first.
        """
        known = self._tokens and (self._constants or not decode_count)
        if not known:
            return min(_UNKNOWN_BESIDE if decode_count else _UNKNOWN_ALONE, self._most)
        token = median(self._tokens)
        if not decode_count:
            return min(max(int(_ALONE_SECONDS / token), _LEAST_ALONE), self._most)
        constant = median(self._constants)
        decode, together = constant + decode_count * token, constant + (decode_count + len(prompts)) * token
        haste = min((sum(prompts[1:]) * token / _PATIENCE) ** 2, _HASTE)
        seconds = max(self._slowdown * together - decode, haste * together)
        return min(max(int(seconds / token), _FLOOR), self._most)

    def shrink(self, token_count: int) -> None:
        """Keeps steps below `token_count` from now on, for which there was no memory."""
        self._most = max(token_count // 2, 1)

    def observe(self, decode_count: int, token_count: int, seconds: float) -> None:
        """Notes how long a step took that decoded for some rows and computed `token_count` tokens of prompts."""
        if token_count == 0:
            tokens = decode_count * median(self._tokens) if self._tokens else 0.0
            self._constants.append(max(seconds - tokens, 0.05 * seconds))
        elif token_count >= _FLOOR:
            constant = median(self._constants) if self._constants else 0.0
            self._tokens.append(max(seconds - constant, 0.05 * seconds) / (decode_count + token_count))
