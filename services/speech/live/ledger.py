"""What one stream consumed, and where its time went."""

import time
from collections.abc import Iterator
from typing import TypeVar

from services.speech.live.event import Completed, StreamTimes
from services.speech.live.reading import Reading

T = TypeVar("T")


class Ledger:
    """Begins when the stream is accepted. Durations are in seconds."""

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
        """Counts a piece of audio."""
        self._first_audio = self._first_audio or time.monotonic()

    def result_left(self) -> None:
        """Counts a result."""
        self._first_result = self._first_result or time.monotonic()

    def timed(self, steps: Iterator[T]) -> Iterator[T]:
        """Yields what `steps` yields, and counts the time that takes."""
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
        """Counts what a reading took, whether or not anything comes of it."""
        self._queue = self._queue or reading.queue
        self._compute += reading.compute
        self._input_tokens += reading.input_tokens
        self._output_tokens += reading.output_tokens

    def closed(self, audio_seconds: float) -> Completed:
        """Returns all of it, of a stream that ends now."""
        total = time.monotonic() - self._accepted
        waited = (self._first_result or 0.0) - (self._first_audio or 0.0)
        times = StreamTimes(
            self._queue, self._preprocess, waited if self._first_result else total, self._compute, total
        )
        return Completed(audio_seconds, self._input_tokens, self._output_tokens, times)
