"""The verb StreamTranscribe: admits streams and wires each of them to the model."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from prometheus_client import Gauge

from sensorium.errors import InvalidArgument, QueueFull, Violation
from services.engine.metrics import EngineMetrics
from services.speech.config import SpeechSettings
from services.speech.live.endpointing import Endpointing
from services.speech.live.event import LiveEvent
from services.speech.live.following import Follower
from services.speech.live.hearing import Hearing
from services.speech.live.intake import Encoding, Intake
from services.speech.live.live_ask import LiveAsk
from services.speech.live.live_checks import endpointing_of, wrong_audio
from services.speech.live.reading import Reading
from services.speech.live.stream import LiveOptions, LiveTranscription
from services.speech.live.utterance import Reach
from services.speech.live.voice_network import VoiceNetwork
from services.speech.transcription.transcribe_ask import TranscribeAsk
from services.speech.verb_set import Transcriber

_RETRY_SECONDS = 5.0
_CUT_SECONDS = 1.0
"""With a streaming model, an utterance that is too long is cut within its last second; audio of that second is
pushed to the model only once the cut is known."""


class StreamTranscriber:
    """Serves live streams. Each has its own endpointing; utterances of all streams share the model's batches."""

    def __init__(
        self,
        transcriber: Transcriber,
        network: VoiceNetwork,
        open_streams: Gauge,
        *,
        max_streams: int,
        unfinished_seconds: float,
        context_seconds: float,
        follower: Callable[[TranscribeAsk], Follower] | None = None,
    ) -> None:
        """`follower` makes the Follower of a stream for a streaming model; else `transcriber` reads utterances."""
        self._transcriber = transcriber
        self._network = network
        self._open_streams = open_streams
        self._max_streams = max_streams
        self._unfinished_seconds = unfinished_seconds
        self._open = 0
        self._follower = follower
        context = context_seconds if transcriber.places_words else 0.0
        self._reach = Reach(int(transcriber.window_seconds * transcriber.rate), int(context * transcriber.rate))

    async def listen(self, ask: LiveAsk, pieces: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent]:
        """Yields the events of a stream whose audio bytes arrive in `pieces`.

        Raises:
            InvalidArgument: an option is wrong, or the audio cannot be decoded.
            QueueFull: the number of open streams is at its limit.
        """
        wrong = [*ask.violations, *wrong_audio(ask), *map(_in_config, await self._transcriber.wrong(ask.reading))]
        endpointing = endpointing_of(ask.endpointing, self._transcriber.window_seconds, wrong)
        if wrong:
            raise InvalidArgument(wrong)
        if self._follower is not None:
            endpointing = replace(endpointing, cut=_CUT_SECONDS)
        with self._admitted():
            async with aclosing(self._stream(ask, endpointing).events(pieces)) as events:
                async for event in events:
                    yield event

    def _stream(self, ask: LiveAsk, endpointing: Endpointing) -> LiveTranscription:
        rate = self._transcriber.rate
        intake = Intake(Encoding[ask.encoding], ask.rate, ask.channels or 1, rate)
        options = LiveOptions(ask.interim_results, ask.speech_events, ask.single_utterance, ask.reading.word_times)
        return LiveTranscription(
            Hearing(intake, self._network, endpointing, rate, self._reach),
            self._follower(ask.reading) if self._follower else _Recognizer(self._transcriber, ask.reading),
            rate,
            options,
            self._unfinished_seconds,
        )

    @contextmanager
    def _admitted(self) -> Generator[None]:
        if self._open >= self._max_streams:
            raise QueueFull(f"{self._open} streams are open, which is the limit.", retry_after=_RETRY_SECONDS)
        self._open += 1
        self._open_streams.inc()
        try:
            yield
        finally:
            self._open -= 1
            self._open_streams.dec()


def live_transcriber(
    transcriber: Transcriber,
    settings: SpeechSettings,
    metrics: EngineMetrics,
    follower: Callable[[TranscribeAsk], Follower] | None = None,
) -> StreamTranscriber:
    """Builds the verb for a transcriber, with the limits of the settings."""
    return StreamTranscriber(
        transcriber,
        VoiceNetwork.load(),
        metrics.live_streams,
        max_streams=settings.max_streams,
        unfinished_seconds=settings.unfinished_seconds,
        context_seconds=settings.context_seconds,
        follower=follower,
    )


@dataclass(frozen=True)
class _Recognizer:
    """A Recognizer with the options of one stream."""

    transcriber: Transcriber
    ask: TranscribeAsk

    async def recognize(self, samples: Any, /) -> Reading:
        return await self.transcriber.recognize(samples, self.ask)


def _in_config(violation: Violation) -> Violation:
    return Violation(f"config.{violation.field}", violation.description)
