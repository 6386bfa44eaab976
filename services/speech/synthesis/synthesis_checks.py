"""Checks synthesis requests and turns their options into the engine's Manner."""

import math
from collections.abc import Iterator

from sensorium.errors import InvalidArgument, Violation
from services.engine.language.languages import choose
from services.engine.media.audio_encoding import AudioEncoding, RateRefused, check_rate
from services.engine.speech_synthesis.model import Manner, SpeakingModel
from services.speech.synthesis.synthesis_ask import SynthesisAsk

_RATES = (0.25, 4.0)
_SAMPLE_RATES = (8000, 48_000)
_LISTED = 20


def wrong_wishes(ask: SynthesisAsk, speaker: SpeakingModel, most_characters: int) -> list[Violation]:
    """Returns all faults of a request, except those that only tokenizing the text shows."""
    return [
        *ask.violations,
        *_wrong_text(ask.text, most_characters),
        *_wrong_speaker(ask, speaker),
        *_wrong_language(ask.language, speaker),
        *_wrong_rate(ask.speaking_rate, speaker),
        *_wrong_encoding(ask, speaker),
        *(
            [Violation("seed", f"must not be negative, not {ask.seed}")]
            if ask.seed is not None and ask.seed < 0
            else []
        ),
    ]


def manner_of(ask: SynthesisAsk, speaker: SpeakingModel) -> Manner:
    """Returns the voice and speed of a request without faults."""
    rate = 1.0 if ask.speaking_rate is None else ask.speaking_rate
    if ask.speaker_embedding is not None:
        return Manner(embedding=ask.speaker_embedding, rate=rate)
    voice = speaker.voices.index(ask.voice) if ask.voice is not None else 0
    return Manner(voice=voice if speaker.voices else None, rate=rate)


def _wrong_text(text: str, most: int) -> Iterator[Violation]:
    if not text:
        yield Violation("text", "must not be empty")
    elif len(text) > most:
        yield Violation("text", f"has {len(text)} characters, and at most {most} are said at once")


def _wrong_speaker(ask: SynthesisAsk, speaker: SpeakingModel) -> Iterator[Violation]:
    voices, width = speaker.voices, speaker.embedding_width
    if ask.voice is not None and ask.voice not in voices:
        listed = ", ".join(voices[:_LISTED]) + (f" and {len(voices) - _LISTED} more" if len(voices) > _LISTED else "")
        has = f"the model has the voices {listed}" if voices else "the model has no voices by name"
        yield Violation("voice", f"is {ask.voice[:40]!r}; {has}")
    if ask.speaker_embedding is not None:
        if not width:
            yield Violation("speaker_embedding", "must not be set: the model takes none")
        elif any(violation.field == "speaker_embedding" for violation in ask.violations):
            return
        elif len(ask.speaker_embedding) != width:
            yield Violation("speaker_embedding", f"has {len(ask.speaker_embedding)} numbers; the model takes {width}")
        elif not all(map(math.isfinite, ask.speaker_embedding)) or not any(ask.speaker_embedding):
            yield Violation("speaker_embedding", "must hold finite numbers that are not all 0")
    elif width and not voices and ask.voice is None:
        yield Violation(
            "speaker_embedding", f"must be set: the model has no voice of its own and takes {width} numbers"
        )


def _wrong_language(language: str, speaker: SpeakingModel) -> tuple[Violation, ...]:
    try:
        choose(language, [speaker.language], field="language")
    except InvalidArgument as error:
        return error.violations
    return ()


def _wrong_rate(rate: float | None, speaker: SpeakingModel) -> Iterator[Violation]:
    low, high = _RATES
    if rate is None or rate == 1:
        return
    if not low <= rate <= high:
        yield Violation("speaking_rate", f"must be in [{low:g}, {high:g}], not {rate:g}")
    elif not speaker.has_rates:
        yield Violation("speaking_rate", "must be 1 or absent: the model has only one speed")


def _wrong_encoding(ask: SynthesisAsk, speaker: SpeakingModel) -> Iterator[Violation]:
    if ask.streamed and not ask.encoding.bare:
        bare = ", ".join(each.value for each in AudioEncoding if each.bare)
        yield Violation("encoding", f"must be one of {bare} in a stream, not {ask.encoding.value}")
    low, high = _SAMPLE_RATES
    if ask.sample_rate is not None and not low <= ask.sample_rate <= high:
        yield Violation("sample_rate_hertz", f"must be in [{low}, {high}], not {ask.sample_rate}")
        return
    try:
        check_rate(ask.encoding, speaker.sample_rate if ask.sample_rate is None else ask.sample_rate)
    except RateRefused as error:
        yield Violation("sample_rate_hertz", str(error))
