"""How many prompt tokens a step may take along, so that the streams beside them keep their pace."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median

from services.engine.generation.recorded.step_shape import StepShape

_RECENT = 16
_FLOOR = 8
"""Prompt tokens that every step may take: fewer would cost more than they spare."""
_ALONE_SECONDS = 0.1
"""Length of a step that only reads prompts. Whoever arrives meanwhile, and whoever is answered, waits for its end."""
_LEAST_ALONE = 64
"""Prompt tokens of such a step at least: fewer would leave a processor without enough to do."""
_PATIENCE = 24
"""Decode steps of all rows: a step reads for as long as one where work on prompts behind the first lasts so many."""
_HASTE = 3.0
"""How many times as long it reads at most for what waits: streams that have to go on take turns with those to come."""
_UNKNOWN_ALONE, _UNKNOWN_BESIDE = 256, 32
"""Prompt tokens of a step, alone or beside streams, before it is known how long a token takes."""
_UNKNOWN_SECONDS, _LEAST_SECONDS = 0.01, 0.001
"""Of other work beside streams, before it is known how long a step takes that only decodes, and at least."""
_REFRESH = 32
"""Steps after which one only decodes, where prompts never end, so that it stays known how long that takes."""


class PrefillBudget:
    """Learns from the steps' durations. Belongs to the engine's thread.

    A step that reads part of a prompt beside streams takes at most `slowdown` times as long as one in which all decode,
    the streams and those that wait for their prompts. Where much work waits behind the first prompt, it takes longer:
    streams are slowed down for others that want an answer, but not for one long prompt. No step takes more than `most`
    tokens.

    Where it takes `beginning` seconds to read at all, beside steps that are recorded, a step that does so reads for as
    long again: with less, prompts would take many such steps. Steps that are recorded to read have one of these
    `shapes`, the smallest first, and are filled whatever `slowdown` is: what is left costs as much as what is used.

    How long a step takes that only decodes is what the last ones took, and what a token of a prompt adds is what they
    added: medians, as a busy machine holds up single steps. A row more is taken to add what a token adds.
    """

    def __init__(
        self,
        most: int,
        slowdown: float,
        beginning: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        shapes: Sequence[StepShape] = (),
    ) -> None:
        self.clock = clock
        """By which steps are measured."""
        self._most = most
        self._beginning = beginning
        self._shapes = shapes
        self._slowdown = slowdown
        self._decoded: deque[tuple[int, float]] = deque(maxlen=3)
        self._tokens: deque[float] = deque(maxlen=_RECENT)
        self._since = 0

    def tokens(self, decode_count: int, prompts: Sequence[int]) -> int:
        """Returns how many prompt tokens the next step may take beside `decode_count` rows.

        `prompts` tells how many tokens are left of each prompt that could be read, the next one first.
        """
        unknown = decode_count and not self._decoded
        if not prompts or (decode_count and self._since >= _REFRESH) or (unknown and self._beginning):
            return 0
        if not self._tokens or unknown:
            return min(_UNKNOWN_BESIDE if decode_count else _UNKNOWN_ALONE, self._most)
        token = median(self._tokens)
        if not decode_count:
            return self._filled(0, max(int(self._reading(_ALONE_SECONDS) / token), _LEAST_ALONE))
        decode, together = self._decode_seconds(decode_count), self._decode_seconds(decode_count + len(prompts))
        haste = min((sum(prompts[1:]) * token / (_PATIENCE * together)) ** 2, _HASTE)
        seconds = max(self._slowdown * together - decode, haste * together)
        return self._filled(decode_count, max(int(self._reading(seconds) / token), _FLOOR))

    def seconds(self, decode_count: int) -> float:
        """Returns how long a step may work on something else beside `decode_count` rows."""
        if not decode_count or not self._decoded:
            return _ALONE_SECONDS if not decode_count else _UNKNOWN_SECONDS
        return max((self._slowdown - 1) * self._decode_seconds(decode_count), _LEAST_SECONDS)

    def shrink(self, token_count: int) -> None:
        """Keeps steps below `token_count` from now on, for which there was no memory."""
        self._most = max(token_count // 2, 1)

    def observe(self, decode_count: int, token_count: int, seconds: float) -> None:
        """Notes how long a step took that decoded for some rows and computed `token_count` tokens of prompts."""
        self._since = self._since + 1 if token_count else 0
        if not token_count:
            self._decoded.append((decode_count, seconds))
        elif token_count >= _FLOOR and (self._decoded or not decode_count):
            beside = self._decode_seconds(decode_count) if decode_count else 0.0
            self._tokens.append(max(seconds - beside - self._beginning, 0.05 * seconds) / token_count)

    def _reading(self, seconds: float) -> float:
        """Returns for how long tokens may be read in a step that reads for so long in all."""
        return max(seconds - self._beginning, self._beginning)

    def _filled(self, decode_count: int, token_count: int) -> int:
        """Returns how many tokens the step takes in which there is room for so many."""
        count = decode_count + token_count
        size = next((one.size for one in self._shapes if one.size >= count and one.decoding >= decode_count), 0)
        return min(max(size - decode_count, token_count), self._most)

    def _decode_seconds(self, count: int) -> float:
        """Returns how long a step takes that only decodes so many rows."""
        token = median(self._tokens) if self._tokens else 0.0
        return median(max(seconds + (count - rows) * token, 0.1 * seconds) for rows, seconds in self._decoded)
