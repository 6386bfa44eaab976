"""What a model understood of an utterance, and who can be asked for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Any, Protocol


@dataclass(frozen=True)
class Word:
    """A word, and its times in seconds if they are known."""

    text: str
    space: str = " "
    """What separates it from a word before it; empty in languages that do not part their words."""
    start: float | None = None
    end: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Reading:
    """What was understood of some samples. Times run from the first one."""

    words: Sequence[Word]
    language: str = ""
    """BCP 47 tag; empty where the model does not say."""
    confidence: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    queue: float = 0.0
    """Seconds until the model first worked on it."""
    compute: float = 0.0
    """Seconds in which it did."""


class Recognizer(Protocol):
    """A model that reads what somebody says."""

    async def recognize(self, samples: Any, /) -> Reading:
        """Returns what is said in a numpy array `[n]`, of at most the length that the model reads at once.

        Raises:
            QueueFull: not now.
        """
        ...


def behind_context(reading: Reading, seconds: float) -> Reading:
    """Returns what a reading holds behind its first seconds, with times from there on."""
    if not seconds:
        return reading
    words = [
        replace(word, start=max(word.start - seconds, 0.0), end=word.end - seconds)
        for word in reading.words
        if word.start is not None and word.end is not None and (word.start + word.end) / 2 >= seconds
    ]
    told = [word.confidence for word in words if word.confidence is not None]
    return replace(reading, words=words, confidence=geometric_mean(told) if told and all(told) else None)


def joined(words: Sequence[Word]) -> str:
    """Returns the text that words make up."""
    return "".join((word.space if i else "") + word.text for i, word in enumerate(words))


def spaced(words: Sequence[Word], text: str) -> list[Word]:
    """Returns the words of a text with what separates them in it."""
    found: list[Word] = []
    place = 0
    for word in words:
        at = text.find(word.text, place)
        found.append(word if at < 0 else replace(word, space=text[place:at]))
        place = place if at < 0 else at + len(word.text)
    if found:
        # What would be before the first one is what is before the others.
        parted = len(found) == 1 or any(word.space for word in found[1:])
        found[0] = replace(found[0], space=" " if parted else "")
    return found
