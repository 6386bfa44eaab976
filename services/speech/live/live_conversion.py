"""Converts StreamTranscribe requests and events from and to protobuf."""

import time
from collections.abc import AsyncGenerator, AsyncIterator

from google.protobuf.duration_pb2 import Duration

from sensorium.errors import InvalidArgument, Violation
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import speech_pb2 as pb
from services.answer_conversion import duration, finish_reason
from services.enums import unknown_enum_numbers
from services.sent_media import SentMedia
from services.speech.live.event import Completed, LiveEvent, Result, SpeechTurn
from services.speech.live.live_ask import EndpointingAsk, LiveAsk
from services.speech.live.reading import Word
from services.speech.transcription.transcribe_ask import TranscribeAsk

_PREFIX = "AUDIO_ENCODING_"
_DEFAULT = "LINEAR16"


async def config_of(requests: AsyncIterator[pb.StreamTranscribeRequest]) -> pb.StreamTranscribeRequest:
    """Returns the first request of a stream, which must hold the configuration.

    Raises:
        InvalidArgument: the stream is empty, or the first request holds no configuration.
    """
    async for request in requests:
        if request.WhichOneof("payload") == "config":
            return request
        break
    raise InvalidArgument([Violation("config", "must be in the first message of the stream")])


async def audio_of(requests: AsyncIterator[pb.StreamTranscribeRequest]) -> AsyncGenerator[bytes]:
    """Yields the audio of all requests after the first one.

    Raises:
        InvalidArgument: a request holds something else.
    """
    async for request in requests:
        match request.WhichOneof("payload"):
            case "audio":
                yield request.audio
            case "config":
                raise InvalidArgument([Violation("config", "may only be in the first message of the stream")])
            case None:
                raise InvalidArgument([Violation("audio", "must be in every message after the first one")])


def live_ask(request: pb.StreamTranscribeRequest, seconds: float | None) -> LiveAsk:
    """Returns the first request as plain values; `seconds` is the time left until the deadline, None without one."""
    config = request.config
    named = pb.AudioEncoding.DESCRIPTOR.values_by_number.get(config.encoding)
    encoding = named.name.removeprefix(_PREFIX) if named is not None else ""
    return LiveAsk(
        encoding=_DEFAULT if encoding == "UNSPECIFIED" else encoding,
        rate=config.sample_rate_hertz,
        channels=config.channel_count if config.HasField("channel_count") else None,
        violations=tuple(unknown_enum_numbers(request)),
        reading=TranscribeAsk(
            audio=SentMedia(b"", ""),
            deadline=None if seconds is None else time.monotonic() + seconds,
            violations=(),
            language=config.language,
            target_language=config.target_language,
            prompt=config.prompt,
            hotwords=list(config.hotwords),
            word_times=config.word_times,
        ),
        interim_results=config.interim_results,
        speech_events=config.speech_events,
        single_utterance=config.single_utterance,
        endpointing=_endpointing(config.endpointing),
    )


def _endpointing(options: pb.EndpointingOptions) -> EndpointingAsk:
    def seconds(field: str) -> float | None:
        value: Duration = getattr(options, field)
        return value.seconds + value.nanos / 1e9 if options.HasField(field) else None  # type: ignore[arg-type]

    return EndpointingAsk(
        speech_threshold=options.speech_threshold if options.HasField("speech_threshold") else None,
        min_speech=seconds("min_speech_duration"),
        min_silence=seconds("min_silence_duration"),
        padding=seconds("padding_duration"),
        max_utterance=seconds("max_utterance_duration"),
    )


def live_response(event: LiveEvent, identity: common.ModelIdentity) -> pb.StreamTranscribeResponse:
    """Returns an event as a message."""
    match event:
        case Result():
            return pb.StreamTranscribeResponse(result=_result(event))
        case SpeechTurn():
            return pb.StreamTranscribeResponse(speech_event=_speech_event(event))
        case Completed():
            return pb.StreamTranscribeResponse(completed=_completed(event))
        case _:
            return pb.StreamTranscribeResponse(started=pb.TranscriptionStarted(model=identity))


def _result(result: Result) -> pb.TranscriptionResult:
    return pb.TranscriptionResult(
        utterance_index=result.utterance_index,
        text=result.text,
        final=result.final,
        stable_character_count=result.stable_characters,
        stability=result.stability,
        confidence=result.confidence,
        start=duration(result.start),
        end=duration(result.end),
        words=map(_word, result.words),
        language=result.language,
        finish_reason=finish_reason(result.cut),
    )


def _word(word: Word) -> pb.Word:
    start, end = word.start or 0.0, word.end or 0.0
    return pb.Word(text=word.text, start=duration(start), end=duration(end), confidence=word.confidence)


def _speech_event(turn: SpeechTurn) -> pb.SpeechEvent:
    kind = pb.SpeechEvent.KIND_SPEECH_STARTED if turn.began else pb.SpeechEvent.KIND_SPEECH_ENDED
    return pb.SpeechEvent(kind=kind, offset=duration(turn.seconds), utterance_index=turn.utterance_index)


def _completed(completed: Completed) -> pb.TranscriptionCompleted:
    times = completed.times
    return pb.TranscriptionCompleted(
        usage=common.Usage(
            input_token_count=completed.input_tokens,
            output_token_count=completed.output_tokens,
            audio_duration=duration(completed.audio),
        ),
        timing=common.Timing(
            queue=duration(times.queue),
            preprocess=duration(times.preprocess),
            time_to_first_output=duration(times.time_to_first_output),
            compute=duration(times.compute),
            total=duration(times.total),
        ),
    )
