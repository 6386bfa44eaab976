"""Converts Transcribe requests and answers from and to protobuf."""

import time

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import speech_pb2 as pb
from services.answer_conversion import duration, finish_reason, identified
from services.engine.batching.answer import Answer
from services.enums import unknown_enum_numbers
from services.generation.parameters_conversion import generation_options
from services.media_conversion import sent_media
from services.speech.transcription.transcribe_ask import Segment, TranscribeAsk, Transcribed, Transcript, Word


def transcribe_ask(request: pb.TranscribeRequest, seconds: float | None) -> TranscribeAsk:
    """Returns the request as plain values; `seconds` is the time left until the deadline, None without one."""
    return TranscribeAsk(
        audio=sent_media(request.audio, "recording"),
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=tuple(unknown_enum_numbers(request)),
        language=request.language,
        target_language=request.target_language,
        prompt=request.prompt,
        hotwords=list(request.hotwords),
        word_times=request.word_times,
        transcript_count=request.transcript_count if request.HasField("transcript_count") else None,
        parameters=generation_options(request.parameters) if request.HasField("parameters") else None,
    )


def transcribe_response(answer: Answer[Transcribed], identity: common.ModelIdentity) -> pb.TranscribeResponse:
    """Returns the transcripts as a message."""
    found = answer.result
    response = pb.TranscribeResponse(
        transcripts=map(_transcript, found.transcripts),
        language=found.language,
        language_confidence=found.language_confidence,
        **identified(answer, identity),
    )
    response.usage.output_token_count = found.output_tokens
    return response


def _transcript(transcript: Transcript) -> pb.Transcript:
    return pb.Transcript(
        text=transcript.text,
        confidence=transcript.confidence,
        segments=map(_segment, transcript.segments),
        finish_reason=finish_reason(transcript.cut),
    )


def _segment(segment: Segment) -> pb.TranscriptSegment:
    return pb.TranscriptSegment(
        text=segment.text,
        start=duration(segment.start),
        end=duration(segment.end),
        confidence=segment.confidence,
        no_speech_probability=segment.no_speech_probability,
        words=map(_word, segment.words),
    )


def _word(word: Word) -> pb.Word:
    return pb.Word(text=word.text, start=duration(word.start), end=duration(word.end), confidence=word.confidence)
