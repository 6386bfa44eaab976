"""How a kind of model is asked for transcripts, and how its answers are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Wish:
    """What is wanted of a recording, of what a model's manner takes."""

    language: str = ""
    """One of the manner's codes; empty: the model finds it out."""
    target: str = ""
    """One of its targets; empty: what is said is written."""
    prompt: str = ""
    hotwords: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """A stretch of a transcript, in seconds from the recording's beginning."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Written:
    """What an answer says."""

    text: str
    language: str = ""
    """The code of the language that the model found; empty where it tells none."""
    parts: Sequence[Part] = ()
    """The same in stretches; none where the model tells no times."""


def plain(text: str) -> Written:
    """Reads an answer that is the transcript, and no more."""
    return Written(text.strip())


@dataclass(frozen=True)
class Manner:
    """Its functions may run in any thread."""

    request: Callable[[Wish], Any]
    """Returns the prompt, in which a placeholder stands for the recording; of an encoder-decoder its Opening."""
    read: Callable[[str], Written] = plain
    """Reads an answer, or the beginning of one."""
    languages: Sequence[str] = ()
    """Codes of those that it can be told; none where the model finds out for itself, or has only one."""
    has_one_language: bool = False
    """Which its files do not name: what a caller says of it is taken for true."""
    needs_language: bool = False
    """It finds out nothing: a caller has to say what is spoken."""
    targets: Sequence[str] = ()
    """Codes of languages that it translates into."""
    takes_prompt: bool = False
    takes_hotwords: bool = False
    marker: str = ""
    """Token behind which an answer has its transcript, where there is something before it."""


class Dictated(Protocol):
    """A loaded model with its manner."""

    @property
    def manner(self) -> Manner:
        """How it is asked."""
        ...

    @property
    def rate(self) -> int:
        """Samples per second of what it reads."""
        ...

    @property
    def reserved(self) -> Sequence[str]:
        """Texts that no text of a caller may contain: they would be something else in a prompt."""
        ...
