"""How a kind of model is prompted for transcripts, and how its answers are parsed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Wish:
    """The options of a request that the model's manner supports."""

    language: str = ""
    """One of the manner's language codes; empty: the model detects it."""
    target: str = ""
    """One of its target languages; empty: transcribe without translation."""
    prompt: str = ""
    hotwords: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """A segment of a transcript; times in seconds from the window's beginning."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Written:
    """A parsed answer."""

    text: str
    language: str = ""
    """Code of the detected language; empty if the model names none."""
    parts: Sequence[Part] = ()
    """The same text in segments; empty if the model gives no times."""


def plain(text: str) -> Written:
    """Parses an answer that is the bare transcript."""
    return Written(text.strip())


@dataclass(frozen=True)
class Manner:
    """How one kind of model is prompted and read. Its functions may run in any thread."""

    request: Callable[[Wish], Any]
    """Returns the prompt with a placeholder for the recording; for an encoder-decoder its Opening."""
    read: Callable[[str], Written] = plain
    """Parses an answer, which may be cut off."""
    languages: Sequence[str] = ()
    """Codes of languages that can be set; empty if the model detects the language or has only one."""
    has_one_language: bool = False
    """Whether it has one language that its files do not name: any language of a request is accepted."""
    needs_language: bool = False
    """Whether requests must name the language, because the model cannot detect it."""
    targets: Sequence[str] = ()
    """Codes of languages that it can translate into."""
    takes_prompt: bool = False
    takes_hotwords: bool = False
    marker: str = ""
    """Token after which the transcript begins, if the answer holds something before it."""


class Dictated(Protocol):
    """A loaded model that transcribes windows by its manner."""

    @property
    def manner(self) -> Manner:
        """How it is prompted."""
        ...

    @property
    def rate(self) -> int:
        """Sample rate in Hz of the model's input."""
        ...

    @property
    def reserved(self) -> Sequence[str]:
        """Texts that a caller's text must not contain, because they are control tokens in a prompt."""
        ...
