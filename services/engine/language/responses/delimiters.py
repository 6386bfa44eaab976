"""The marks between the parts of a message."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import regex

LONGEST = 256
"""Characters of the longest delimiter. A longer one is none, so that text is never held back for longer."""
CONTEXT = 64
"""Characters before a delimiter that its pattern can look back at."""
_SECONDS = 0.05
_MORE_SECONDS = 0.5
_MOST_KNOWN = 4_096
# What such a pattern matches depends on more than the characters from there on.
_LOOKS_BACK = ("(?<=", "(?<!", r"\b", r"\B", r"\m", r"\M", r"\G", r"\K")


@dataclass(frozen=True)
class Mark:
    """A delimiter found in a text, up to index `end`, and the texts of its named groups."""

    end: int
    captures: dict[str, str]


class Delimiter:
    """Opens or closes the regions of a field."""

    def __init__(self, field: str, *, opens: bool, pattern: Any, literals: Sequence[str] | None) -> None:
        self.field = field
        self.opens = opens
        self._pattern = _without_whitespace_before(pattern)
        self._literals = sorted(literals, key=len, reverse=True) if literals else None

    def __deepcopy__(self, _memo: object) -> "Delimiter":
        """Returns itself: it never changes, and is looked for among others."""
        return self

    def may_begin(self, character: str) -> bool:
        """Returns whether a delimiter may begin with this character."""
        if self._literals is not None:
            return any(literal[0] == character for literal in self._literals)
        if any(sign in self._pattern.pattern for sign in _LOOKS_BACK):
            return True
        return self._match(character, 0, 1, partial=True) is not None

    def judge(self, text: str, start: int, end: int, *, final: bool) -> tuple[bool, Mark | None]:
        """Returns whether it is certain what begins at `start`, from the text up to `end`, and the delimiter if one is.

        With `final`, no more text comes.

        Raises:
            TimeoutError: the pattern takes too long.
        """
        if self._literals is not None:
            said = text[start:end]
            found = next((literal for literal in self._literals if said.startswith(literal)), None)
            open_ended = any(len(literal) > len(said) and literal.startswith(said) for literal in self._literals)
            return final or not open_ended, Mark(start + len(found), {}) if found else None
        found = self._match(text, start, end, partial=not final)
        if found is None or found.partial:
            return found is None, None
        certain = final or (found.end() < end and self._stands(found, text, start, end))
        return certain, Mark(found.end(), _captures(found))

    def _stands(self, found: Any, text: str, start: int, end: int) -> bool:
        """Returns whether a match does not depend on the text's ending where it does."""
        behind = max(0, start - CONTEXT)
        longer = self._match(f"{text[behind:end]}\0", start - behind, None)
        if longer is None:
            return False
        return longer.end() + behind == found.end() and _captures(longer) == _captures(found)

    def _match(self, text: str, start: int, end: int | None, *, partial: bool = False) -> Any:
        try:
            return self._pattern.match(text, start, end, partial=partial, timeout=_SECONDS, concurrent=False)
        except TimeoutError:
            # The library counts the time of all threads, and others may have had it.
            return self._pattern.match(text, start, end, partial=partial, timeout=_MORE_SECONDS)


class Watch:
    """The delimiters that are looked for within one region."""

    def __init__(self, delimiters: Sequence[Delimiter]) -> None:
        self._delimiters = delimiters
        self._beginning: dict[str, Sequence[Delimiter]] = {}

    def beginning(self, character: str) -> Sequence[Delimiter]:
        """Returns the delimiters that may begin with this character."""
        found = self._beginning.get(character)
        if found is None:
            found = [each for each in self._delimiters if each.may_begin(character)]
            if len(self._beginning) < _MOST_KNOWN:
                self._beginning[character] = found
        return found


def _captures(found: Any) -> dict[str, str]:
    return {name: text for name, text in found.groupdict().items() if text is not None}


def _without_whitespace_before(pattern: Any) -> Any:
    r"""Removes a leading `\s*`: fields are stripped, and runs of whitespace would be scanned again and again."""
    written = getattr(pattern, "pattern", "")
    if written.startswith(r"\s*") and written[3:4] not in ("", "?", "+", "|"):
        return regex.compile(written[3:], regex.DOTALL)
    return pattern
