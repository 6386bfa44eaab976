"""Checks of transcription requests that do not depend on the model."""

import math
from collections.abc import Sequence

from sensorium.errors import InvalidArgument, Violation
from services.engine.audio.reader import AudioReader, Sound
from services.engine.language.languages import choose, is_tag
from services.engine.media.refusal import AudioRefused
from services.speech.transcription.transcribe_ask import TranscribeAsk

MOST_TRANSCRIPTS = 16


def wrong_options(ask: TranscribeAsk) -> list[Violation]:
    """Checks language tags, hotwords and the number of transcripts."""
    wrong = [
        Violation(field, f"is no BCP 47 tag: {tag[:40]!r}")
        for field, tag in (("language", ask.language), ("target_language", ask.target_language))
        if tag and not is_tag(tag)
    ]
    wrong += [
        Violation(f"hotwords[{i}]", "must not be empty") for i, word in enumerate(ask.hotwords) if not word.strip()
    ]
    count = ask.transcript_count
    if count is not None and not 1 <= count <= MOST_TRANSCRIPTS:
        wrong.append(Violation("transcript_count", f"must be in [1, {MOST_TRANSCRIPTS}], not {count}"))
    return wrong


def sound_of(
    ask: TranscribeAsk, reader: AudioReader, wrong: Sequence[Violation], window_seconds: float = math.inf
) -> Sound:
    """Decodes the recording at the model's rate. Several transcripts need a recording of at most `window_seconds`.

    Raises:
        InvalidArgument: the audio cannot be decoded or has an unsupported length, or `wrong` is not empty.
    """
    try:
        if ask.audio.wrong:
            raise AudioRefused(ask.audio.wrong)
        sound = reader.decode(ask.audio.data, ask.audio.media_type, ask.deadline)
        reader.check_length(sound.samples)
    except AudioRefused as error:
        raise InvalidArgument([*wrong, Violation("audio", str(error))]) from error
    if (ask.transcript_count or 1) > 1 and len(sound.samples) > window_seconds * reader.rate:
        said = f"must be 1 for a recording of more than {window_seconds:g} s"
        wrong = [*wrong, Violation("transcript_count", said)]
    if wrong:
        raise InvalidArgument(wrong)
    return sound


def wrong_for_frames(ask: TranscribeAsk, *, finds_language: bool, own_language: str) -> list[Violation]:
    """Returns the options that do not apply to a frame model (CTC, TDT, RNN-T), which has no prompt.

    With `finds_language` the model is multilingual and detects the language: none can be set. `own_language` is the
    code of its one language, empty if its files do not name it: then none can be set either.
    """
    count = ask.transcript_count
    wrong = [
        Violation(field, f"does not apply: the model {reason}")
        for field, reason, sent in (
            ("language", "detects the language, and it cannot be set", ask.language if finds_language else ""),
            ("target_language", "does not translate", ask.target_language),
            ("prompt", "takes none", ask.prompt),
            ("hotwords", "takes none", ask.hotwords),
            ("transcript_count", "gives only one transcript", count is not None and 1 < count <= MOST_TRANSCRIPTS),
            ("parameters", "generates nothing", ask.parameters is not None),
        )
        if sent
    ]
    if ask.language and is_tag(ask.language) and not finds_language:
        try:
            choose(ask.language, [own_language], field="language")
        except InvalidArgument as error:
            wrong = [*error.violations, *wrong]
    return wrong
