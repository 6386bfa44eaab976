"""Counts usage and timing of one stream."""

import time
from collections.abc import Iterator
from typing import TypeVar

from services.speech.live.event import Completed, StreamTimes
from services.speech.live.reading import Reading

T = TypeVar("T")


class Ledger:
    """Created when the stream is accepted. Durations are in seconds."""

    def __init__(self) -> None:
        self._accepted = time.monotonic()
        self._first_audio: float | None = None
        self._first_result: float | None = None
        self._queue = 0.0
        self._preprocess = 0.0
        self._compute = 0.0
        self._input_tokens = 0
        self._output_tokens = 0

    def audio_came(self) -> None:
        """Notes that audio arrived."""
        self._first_audio = self._first_audio or time.monotonic()

    def result_left(self) -> None:
        """Notes that a result was delivered."""
        self._first_result = self._first_result or time.monotonic()

    def timed(self, steps: Iterator[T]) -> Iterator[T]:
        """Yields from `steps` and adds the time its steps take to preprocessing."""
        while True:
            began = time.monotonic()
            try:
                step = next(steps)
            except StopIteration:
                return
            finally:
                self._preprocess += time.monotonic() - began
            yield step

    def read(self, reading: Reading) -> None:
        """Adds the tokens and times of a reading, even of one that gives no result."""
        self._queue = self._queue or reading.queue
        self._compute += reading.compute
        self._input_tokens += reading.input_tokens
        self._output_tokens += reading.output_tokens

    def closed(self, audio_seconds: float) -> Completed:
        """Returns the totals of a stream that ends now."""
        total = time.monotonic() - self._accepted
        waited = (self._first_result or 0.0) - (self._first_audio or 0.0)
        times = StreamTimes(
            self._queue, self._preprocess, waited if self._first_result else total, self._compute, total
        )
        return Completed(audio_seconds, self._input_tokens, self._output_tokens, times)
