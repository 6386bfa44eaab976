"""What a model read of an utterance, and the interface of such models."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Any, Protocol


@dataclass(frozen=True)
class Word:
    """A word with its start and end in seconds, None if unknown."""

    text: str
    space: str = " "
    """Separator between the previous word and this one; empty in scripts without spaces."""
    start: float | None = None
    end: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Reading:
    """The transcript of some samples. Times count from the first sample."""

    words: Sequence[Word]
    language: str = ""
    """BCP 47 tag; empty if unknown."""
    confidence: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    queue: float = 0.0
    """Seconds in the queue."""
    compute: float = 0.0
    """Seconds of compute."""
    cut: bool | None = None
    """Whether a limit of tokens ended it, so that words may be missing; None for models that have none."""


class Recognizer(Protocol):
    """A model that transcribes whole utterances, with the options of one stream."""

    async def recognize(self, samples: Any, /) -> Reading:
        """Transcribes a numpy array `[n]` of float32, no longer than the model's window.

        Raises:
            QueueFull: too many requests are waiting.
        """
        ...


def behind_context(reading: Reading, seconds: float) -> Reading:
    """Returns a reading without its first `seconds`, and with times that count from there."""
    if not seconds:
        return reading
    words = [
        replace(word, start=max(word.start - seconds, 0.0), end=word.end - seconds)
        for word in reading.words
        if word.start is not None and word.end is not None and (word.start + word.end) / 2 >= seconds
    ]
    confidences = [word.confidence for word in words if word.confidence is not None]
    return replace(
        reading, words=words, confidence=geometric_mean(confidences) if confidences and all(confidences) else None
    )


def joined(words: Sequence[Word]) -> str:
    """Returns the text of words with their separators."""
    return "".join((word.space if i else "") + word.text for i, word in enumerate(words))


def spaced(words: Sequence[Word], text: str) -> list[Word]:
    """Returns the words with the separators that they have in `text`."""
    found: list[Word] = []
    place = 0
    for word in words:
        at = text.find(word.text, place)
        found.append(word if at < 0 else replace(word, space=text[place:at]))
        place = place if at < 0 else at + len(word.text)
    if found:
        # Nothing precedes the first word here; it gets the separator that the others have.
        parted = len(found) == 1 or any(word.space for word in found[1:])
        found[0] = replace(found[0], space=" " if parted else "")
    return found
