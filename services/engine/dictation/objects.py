"""Parses transcripts that are JSON lists of objects, one for each segment of one speaker (VibeVoice-ASR)."""

import json
import re
from typing import Any

from services.engine.dictation.manner import Part, Written

_ROLE = "assistant"
"""VibeVoice-ASR writes this role before its list."""
_GAP = re.compile(r"[\s,]*")
_BEGUN = re.compile(r'\{.*"Content"\s*:\s*(?P<content>"(?:[^"\\]|\\.)*)', re.DOTALL)
"""An object that is cut off within its text."""
_NO_TIME = 1e9
"""Times of so many seconds or more are refused as invalid."""
_DECODER = json.JSONDecoder()


def read_objects(text: str) -> Written:
    """Parses an answer, which may be cut off. An answer of another form is taken as the bare transcript."""
    text = text.strip().removeprefix(_ROLE).strip()
    if not text.startswith("["):
        return Written(text)
    objects, rest = _whole(text)
    if rest[:1] not in "{]" or not all(map(_tells, objects)):
        return Written(text)
    said = [_text(each["Content"]) for each in objects]
    if begun := _BEGUN.match(rest):
        said.append(_unquoted(begun["content"]))
    whole = " ".join(said).strip()
    parts = [Part(content, each.get("Start"), each.get("End")) for content, each in zip(said, objects, strict=False)]
    timed = not begun and all(map(_is_time, (time for part in parts for time in (part.start, part.end))))
    return Written(whole, parts=parts if timed else ())


def _whole(text: str) -> tuple[list[Any], str]:
    """Returns the complete values of a list that may be cut off, and the rest of the text."""
    found: list[Any] = []
    place = 1
    while True:
        place = _GAP.match(text, place).end()  # type: ignore[union-attr]
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return found, text[place:]
        found.append(value)


def _tells(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("Content"), str)


def _unquoted(text: str) -> str:
    """Returns the content of a JSON string without its closing quote, dropping an incomplete escape at its end."""
    for end in (text, text[: text.rfind("\\")]):
        try:
            return _text(json.loads(f'{end}"', strict=False))
        except ValueError:
            continue
    return ""


def _text(content: str) -> str:
    """Drops unpaired surrogates, which JSON may contain and UTF-8 cannot encode."""
    return content.encode(errors="ignore").decode()


def _is_time(value: Any) -> bool:
    # Integers of JSON may be larger than any float, so they are compared, not converted.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _NO_TIME
