"""Groups text tokens into words, as Whisper does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_UNFINISHED = "�"
"""Incomplete UTF-8 characters decode to this."""
_ALONE = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_OPENING = frozenset("\"'“¡¿([{-")
_CLOSING = frozenset("\"'.。,，!！?？:：”)]}、")
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages without spaces between words: each character counts as a word."""


@dataclass(frozen=True)
class GroupedWord:
    """A word with its leading space, if any, and the indices of its tokens."""

    text: str
    places: tuple[int, ...]


def grouped(ids: Sequence[int], decode: Callable[[Sequence[int]], str], language: str = "") -> list[GroupedWord]:
    """Returns the words of the tokens `ids`, with adjacent punctuation. `language` is the model's code."""
    pieces = _characters(ids, decode)
    words: list[GroupedWord] = []
    for piece in pieces:
        alone = language in _UNSPACED or piece.text.startswith(" ") or piece.text.strip() in _ALONE
        if alone or not words:
            words.append(piece)
        else:
            words[-1] = _joined(words[-1], piece)
    return _with_closing(_with_opening(words))


def _characters(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[GroupedWord]:
    """Returns the shortest runs of tokens that decode to complete characters."""
    found: list[GroupedWord] = []
    begun = 0
    for place in range(len(ids)):
        text = decode(ids[begun : place + 1])
        if _UNFINISHED not in text or place == len(ids) - 1:
            found.append(GroupedWord(text, tuple(range(begun, place + 1))))
            begun = place + 1
    return found


def _joined(first: GroupedWord, second: GroupedWord) -> GroupedWord:
    return GroupedWord(first.text + second.text, first.places + second.places)


def _with_opening(words: Sequence[GroupedWord]) -> list[GroupedWord]:
    found: list[GroupedWord] = []
    for word in reversed(words):
        if found and word.text.startswith(" ") and word.text.strip() in _OPENING:
            found[-1] = _joined(word, found[-1])
        else:
            found.append(word)
    return found[::-1]


def _with_closing(words: Sequence[GroupedWord]) -> list[GroupedWord]:
    found: list[GroupedWord] = []
    for word in words:
        if found and not found[-1].text.endswith(" ") and word.text in _CLOSING:
            found[-1] = _joined(found[-1], word)
        else:
            found.append(word)
    return found
