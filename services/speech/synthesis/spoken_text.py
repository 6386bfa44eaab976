"""The audio of a text while it is synthesized, resampled and encoded for its caller."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from services.engine.media.audio_writer import AudioWriter
from services.engine.media.resampling import Resampler
from services.engine.speech_synthesis.stream import Sound, SpeechStream
from services.engine.threads.preprocessing import Preprocessing
from services.speech.synthesis.synthesis_ask import AudioDelta, AudioFacts, SynthesisEnd

_NOTHING: Sound = np.empty(0, np.float32)


@dataclass(frozen=True)
class Accepted:
    """What is known of a request before synthesis."""

    at: float
    """Arrival, on the clock of `time.monotonic`."""
    preprocess: float
    """Time of preprocessing, in seconds."""
    input_tokens: int


class SpokenText:
    """The audio of one request in the requested encoding and sample rate. Can be read once."""

    def __init__(
        self,
        stream: SpeechStream,
        facts: AudioFacts,
        model_rate: int,
        preprocessing: Preprocessing,
        accepted: Accepted,
    ) -> None:
        self.facts = facts
        self._stream = stream
        self._accepted = accepted
        self._converter = Resampler(model_rate, facts.sample_rate)
        self._writer = AudioWriter(facts.encoding, facts.sample_rate)
        self._preprocessing = preprocessing
        self._samples = 0
        self._first: float | None = None
        self._over = False

    async def deltas(self) -> AsyncIterator[AudioDelta]:
        """Yields the audio of a raw encoding piece by piece. Raises what SpeechStream raises."""
        offset = 0
        while await self._advance():
            if audio := self._writer.take():
                yield AudioDelta(audio, offset / self.facts.sample_rate)
                offset = self._samples

    async def whole(self, most: int) -> bytes | None:
        """Returns all audio, or None if it takes more than `most` bytes. Raises what SpeechStream raises."""
        while await self._advance():
            if self._writer.size > most:
                return None
        audio = await self._preprocessing.finish(self._writer.finish)
        return audio if len(audio) <= most else None

    def end(self, *, at_once: bool) -> SynthesisEnd:
        """See SpokenText in verb_set."""
        end = self._stream.end
        assert end is not None
        times = end.times
        total = time.monotonic() - self._accepted.at
        return SynthesisEnd(
            cut=end.cut,
            input_tokens=self._accepted.input_tokens,
            audio_seconds=self._samples / self.facts.sample_rate,
            queue=times.queue,
            preprocess=self._accepted.preprocess,
            time_to_first_output=total if at_once or self._first is None else self._first,
            compute=times.compute,
            total=total,
        )

    async def _advance(self) -> bool:
        """Encodes the next piece, and after the last one what the resampler held back. Returns False at the end."""
        if self._over:
            return False
        sound = await anext(self._stream, None)
        self._over = sound is None
        await self._preprocessing.finish(self._write, _NOTHING if sound is None else sound, last=self._over)
        if self._first is None:
            self._first = time.monotonic() - self._accepted.at
        return True

    def _write(self, sound: Sound, *, last: bool) -> None:
        samples = self._converter.push(sound, last=last)
        self._samples += len(samples)
        self._writer.push(samples)
