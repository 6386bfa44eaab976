"""Converts Synthesize and StreamSynthesize requests and answers from and to protobuf."""

import time

from sensorium.errors import Violation
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import speech_pb2 as pb
from services.answer_conversion import duration, finish_reason
from services.engine.media.audio_encoding import AudioEncoding
from services.enums import unknown_enum_numbers
from services.speech.synthesis.synthesis_ask import AudioDelta, AudioFacts, SynthesisAsk, SynthesisEnd, WholeAudio

_PREFIX = "AUDIO_ENCODING_"
_CHANNELS = 1


def synthesis_ask(request: pb.SynthesizeRequest | pb.StreamSynthesizeRequest, seconds: float | None) -> SynthesisAsk:
    """Returns the request as plain values; `seconds` is the time left until the deadline, None without one."""
    streamed = isinstance(request, pb.StreamSynthesizeRequest)
    unknown = tuple(unknown_enum_numbers(request))
    default = AudioEncoding.LINEAR16 if streamed else AudioEncoding.WAV
    named = request.encoding and not unknown
    embedding = request.speaker_embedding if request.HasField("speaker_embedding") else None
    return SynthesisAsk(
        text=request.text,
        streamed=streamed,
        voice=request.voice if request.HasField("voice") else None,
        speaker_embedding=None if embedding is None else list(embedding.values),
        language=request.language,
        speaking_rate=request.speaking_rate if request.HasField("speaking_rate") else None,
        encoding=AudioEncoding(pb.AudioEncoding.Name(request.encoding).removeprefix(_PREFIX)) if named else default,
        sample_rate=request.sample_rate_hertz if request.HasField("sample_rate_hertz") else None,
        seed=request.seed if request.HasField("seed") else None,
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=(*unknown, *_wrong_shape(embedding)),
    )


def synthesis_response(spoken: WholeAudio, identity: common.ModelIdentity) -> pb.SynthesizeResponse:
    """Returns the audio as a message."""
    return pb.SynthesizeResponse(
        model=identity,
        audio=common.Media(mime_type=spoken.media_type, data=spoken.audio),
        encoding=_encoding(spoken.facts),
        sample_rate_hertz=spoken.facts.sample_rate,
        channel_count=_CHANNELS,
        seed=spoken.facts.seed,
        usage=_usage(spoken.end),
        timing=_timing(spoken.end),
        finish_reason=finish_reason(spoken.end.cut),
    )


def started_event(facts: AudioFacts, identity: common.ModelIdentity) -> pb.StreamSynthesizeResponse:
    """Returns the first event of a stream."""
    started = pb.SynthesisStarted(
        model=identity,
        encoding=_encoding(facts),
        sample_rate_hertz=facts.sample_rate,
        channel_count=_CHANNELS,
        seed=facts.seed,
    )
    return pb.StreamSynthesizeResponse(started=started)


def delta_event(delta: AudioDelta) -> pb.StreamSynthesizeResponse:
    """Returns the event of a piece of audio."""
    return pb.StreamSynthesizeResponse(delta=pb.SynthesisDelta(audio=delta.audio, offset=duration(delta.offset)))


def completed_event(end: SynthesisEnd) -> pb.StreamSynthesizeResponse:
    """Returns the last event of a stream."""
    completed = pb.SynthesisCompleted(usage=_usage(end), timing=_timing(end), finish_reason=finish_reason(end.cut))
    return pb.StreamSynthesizeResponse(completed=completed)


def _wrong_shape(embedding: common.Embedding | None) -> tuple[Violation, ...]:
    """Returns the fault of a speaker embedding whose declared shape does not fit its values, if any."""
    if embedding is None:
        return ()
    vectors, width = embedding.vector_count or 1, embedding.dimension_count or len(embedding.values)
    if vectors == 1 and width == len(embedding.values):
        return ()
    held = f"{len(embedding.values)} numbers"
    return (Violation("speaker_embedding", f"must be one vector: it says {vectors} of {width} and holds {held}"),)


def _encoding(facts: AudioFacts) -> pb.AudioEncoding.ValueType:
    return pb.AudioEncoding.Value(_PREFIX + facts.encoding.value)


def _usage(end: SynthesisEnd) -> common.Usage:
    return common.Usage(input_token_count=end.input_tokens, audio_duration=duration(end.audio_seconds))


def _timing(end: SynthesisEnd) -> common.Timing:
    return common.Timing(
        queue=duration(end.queue),
        preprocess=duration(end.preprocess),
        time_to_first_output=duration(end.time_to_first_output),
        compute=duration(end.compute),
        total=duration(end.total),
    )
