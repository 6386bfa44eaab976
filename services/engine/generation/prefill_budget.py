"""How many prompt tokens a step may read beside decoding rows, so that running streams keep their pace."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median

from services.engine.generation.recorded.step_shape import StepShape

_RECENT = 16
_FLOOR = 8
"""Prompt tokens that every step may read: fewer would cost more than they save."""
_ALONE_SECONDS = 0.1
"""Duration of a step that only reads prompts. Requests that arrive meanwhile wait for its end."""
_LEAST_ALONE = 64
"""Least prompt tokens of such a step: fewer would not keep the processor busy."""
_PATIENCE = 24
"""A step reads for as long as a decode step if prompts behind the first will take as long as this many of those."""
_HASTE = 3.0
"""A step reads for waiting prompts at most this many times as long as a decode step takes."""
_UNKNOWN_ALONE, _UNKNOWN_BESIDE = 256, 32
"""Prompt tokens of a step, alone or beside streams, before it is known how long a token takes."""
_UNKNOWN_SECONDS, _LEAST_SECONDS = 0.01, 0.001
"""Time for other work beside streams: before the duration of a decode step is known, and at least."""
_REFRESH = 32
"""After so many steps with prompts one only decodes, to measure again how long that takes."""


class PrefillBudget:
    """Learns from the durations of steps. Used in the engine's thread only.

    A step that reads prompt tokens beside decoding rows takes at most `slowdown` times as long as a step in which all
    these sequences decode. It may take longer where much work waits behind the first prompt: streams are slowed down
    for many waiting requests, but not for one long prompt. No step reads more than `most` tokens.

    `beginning` is the fixed cost in seconds of a step that reads, where decode steps are replayed from a recording.
    Such a step reads for at least as long again, or prompts would pay that cost many times. Recorded steps that read
    have one of `shapes`, smallest first, and are filled up whatever `slowdown` says: unused places cost as much.

    The duration of a decode step and the time that a prompt token adds are medians of the latest steps, as a busy
    machine delays single steps. One more decoding row is taken to add as much time as one prompt token.
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
        """The clock, in seconds, that steps are measured by."""
        self._most = most
        self._beginning = beginning
        self._shapes = shapes
        self._slowdown = slowdown
        self._decoded: deque[tuple[int, float]] = deque(maxlen=3)
        self._tokens: deque[float] = deque(maxlen=_RECENT)
        self._since = 0

    def tokens(self, decode_count: int, prompts: Sequence[int]) -> int:
        """Returns how many prompt tokens the next step may read beside `decode_count` decoding rows.

        `prompts` holds the number of unread tokens of each prompt that could be read, the next one first.
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
        """Returns for how many seconds a step may do other work, such as encoding media, beside `decode_count` rows."""
        if not decode_count or not self._decoded:
            return _ALONE_SECONDS if not decode_count else _UNKNOWN_SECONDS
        return max((self._slowdown - 1) * self._decode_seconds(decode_count), _LEAST_SECONDS)

    def shrink(self, token_count: int) -> None:
        """Keeps later steps below `token_count` tokens, as there was no memory for so many."""
        self._most = max(token_count // 2, 1)

    def observe(self, decode_count: int, token_count: int, seconds: float) -> None:
        """Notes how long a step took with `decode_count` decoding rows and `token_count` prompt tokens."""
        self._since = self._since + 1 if token_count else 0
        if not token_count:
            self._decoded.append((decode_count, seconds))
        elif token_count >= _FLOOR and (self._decoded or not decode_count):
            beside = self._decode_seconds(decode_count) if decode_count else 0.0
            self._tokens.append(max(seconds - beside - self._beginning, 0.05 * seconds) / token_count)

    def _reading(self, seconds: float) -> float:
        """Returns the seconds left for prompt tokens in a step that may read for `seconds`, its fixed cost included."""
        return max(seconds - self._beginning, self._beginning)

    def _filled(self, decode_count: int, token_count: int) -> int:
        """Returns how many tokens a step with a budget of `token_count` reads, by the shapes of recorded steps."""
        count = decode_count + token_count
        size = next((one.size for one in self._shapes if one.size >= count and one.decoding >= decode_count), 0)
        return min(max(size - decode_count, token_count), self._most)

    def _decode_seconds(self, count: int) -> float:
        """Returns how many seconds a step takes that only decodes `count` rows."""
        token = median(self._tokens) if self._tokens else 0.0
        return median(max(seconds + (count - rows) * token, 0.1 * seconds) for rows, seconds in self._decoded)
