"""The fields of a message, as a template for responses describes them."""

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

import regex
from transformers.utils.chat_parsing.content_parsers import process_field

from services.engine.language.responses.calls import Malformed

LONGEST_BODY = 256 << 10
"""Characters of the longest region with tool calls that is parsed."""
_SECONDS = 0.25
_MORE_SECONDS = 1.0
_MOST_WORK = 50_000_000
"""Characters that the library's replacement of strings may read: all of the text for each of them."""
_LOOSE = ("xml-inline", "kv-lines")
"""Parsers that find the arguments that are complete in a text that is cut."""


class Kind(Enum):
    """What becomes of a field."""

    REASONING = auto()
    CONTENT = auto()
    CALLS = auto()
    DROPPED = auto()


KINDS = {
    "content": Kind.CONTENT,
    "reasoning_content": Kind.REASONING,
    "reasoning": Kind.REASONING,
    "thinking": Kind.REASONING,
    "tool_calls": Kind.CALLS,
    "role": Kind.DROPPED,
}


class Field:
    """A field of a message.

    Raises:
        ValueError: it cannot be served; the message says why.
    """

    def __init__(self, spec: Any, *, whole: bool) -> None:
        """`spec` is the library's. With `whole`, a body with more than what its pattern finds is malformed."""
        self.name: str = spec.name
        if self.name not in KINDS:
            raise ValueError(f"a message has no field {self.name!r}, only {', '.join(KINDS)}")
        self.kind = KINDS[self.name]
        self.join: str | None = spec.join
        if not isinstance(spec.content_args, dict):
            raise ValueError(f"the content_args of {self.name!r} are no object")
        self.strip = bool(spec.content_args.get("strip", True))
        self._spec = spec
        self._whole = whole
        self._closes = spec.close_re is not None
        self._tags: list[Any] = []
        if self.kind in (Kind.CONTENT, Kind.REASONING) and (spec.content != "text" or spec.transform is not None):
            raise ValueError(f"{self.name!r} is not plain text")
        if spec.content == "xml-inline":
            self._tags.append(_tag(spec.content_args.get("tag_pattern")))
            nested = spec.content_args.get("value_parser") or {}
            if not isinstance(nested, dict) or {"tag_pattern", "string_delims"} & set(nested.get("args") or ()):
                raise ValueError(f"the value_parser of {self.name!r} has patterns of its own")
        self._quotes = list(_quotes(spec.content_args.get("string_delims") or ()))

    def parse(self, body: str, captures: dict[str, str], *, closed: bool) -> Any:
        """Returns the value of a region with tool calls; `closed` tells whether the model closed it.

        Raises:
            Malformed: it has none, or takes too long to parse.
        """
        if len(body) > LONGEST_BODY:
            raise Malformed("too long")
        if not closed and self._closes and self._spec.content in _LOOSE:
            raise Malformed("cut short")
        try:
            try:
                self._try_patterns(body, _SECONDS)
            except TimeoutError:
                # The library counts the time of all threads, and others may have had it.
                self._try_patterns(body, _MORE_SECONDS)
            return process_field(body, self._spec, captures)
        except Malformed:
            raise
        except Exception as error:
            # The library raises what the text makes Python raise, such as RecursionError and KeyError.
            raise Malformed(str(error)) from error

    def _try_patterns(self, body: str, seconds: float) -> None:
        """The library applies these patterns without a time limit."""
        for tag in self._tags:
            end = 0
            for found in tag.finditer(body, timeout=seconds):
                if self._whole and body[end : found.start()].strip():
                    raise Malformed("text between the arguments")
                end = found.end()
            if self._whole and body[end:].strip():
                raise Malformed("text behind the arguments")
        for opening, quoted in self._quotes:
            if body.count(opening) * len(body) > _MOST_WORK:
                raise Malformed("too many strings")
            for _ in quoted.finditer(body, timeout=seconds):
                pass


def _tag(pattern: Any) -> Any:
    try:
        tag = regex.compile(pattern, regex.DOTALL)
    except (regex.error, TypeError) as error:
        raise ValueError(f"{pattern!r} is no pattern: {error}") from error
    if "key" not in tag.groupindex:
        raise ValueError(f"the pattern {pattern!r} has no group 'key'")
    return tag


def _quotes(pairs: Any) -> Iterator[tuple[str, Any]]:
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(each, str) and each for each in pair):
            raise ValueError(f"{pair!r} are no two marks of a string")
        yield pair[0], regex.compile(f"{regex.escape(pair[0])}(.*?){regex.escape(pair[1])}", regex.DOTALL)
