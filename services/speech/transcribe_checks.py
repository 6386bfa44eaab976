"""What is wrong with the options of a wish for a transcript, whatever model is asked."""

import langcodes

from sensorium.errors import Violation
from services.speech.transcribe_ask import TranscribeAsk

MOST_TRANSCRIPTS = 16


def wrong_options(ask: TranscribeAsk) -> list[Violation]:
    """Returns what is wrong with tags and numbers."""
    wrong = [
        Violation(field, f"is no BCP 47 tag: {tag[:40]!r}")
        for field, tag in (("language", ask.language), ("target_language", ask.target_language))
        if tag and not langcodes.tag_is_valid(tag)
    ]
    count = ask.transcript_count
    if count is not None and not 1 <= count <= MOST_TRANSCRIPTS:
        wrong.append(Violation("transcript_count", f"must be in [1, {MOST_TRANSCRIPTS}], not {count}"))
    return wrong


def wrong_for_frames(ask: TranscribeAsk, *, finds_language: bool) -> list[Violation]:
    """Returns which options do not apply to a model that writes one token a frame, by sound alone.

    A model that `finds_language` knows several, and none can be named to it.
    """
    count = ask.transcript_count
    return [
        Violation(field, f"does not apply: the model {reason}")
        for field, reason, sent in (
            ("language", "finds out what is spoken, and cannot be told", ask.language if finds_language else ""),
            ("target_language", "writes what it hears, and translates nothing", ask.target_language),
            ("prompt", "takes none", ask.prompt),
            ("hotwords", "takes none", ask.hotwords),
            ("transcript_count", "has only one reading", count is not None and 1 < count <= MOST_TRANSCRIPTS),
            ("parameters", "generates nothing", ask.parameters is not None),
        )
        if sent
    ]
