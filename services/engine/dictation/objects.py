"""Transcripts that are written as a list of objects in JSON, one for each stretch of what one speaker said."""

import json
import re
from typing import Any

from services.engine.dictation.manner import Part, Written

_ROLE = "assistant"
"""Who speaks, which VibeVoice-ASR writes before its list."""
_GAP = re.compile(r"[\s,]*")
_BEGUN = re.compile(r'\{.*"Content"\s*:\s*(?P<content>"(?:[^"\\]|\\.)*)', re.DOTALL)
"""An object that breaks off within what was said."""
_NO_TIME = 1e9
"""Seconds that no recording has."""
_DECODER = json.JSONDecoder()


def read_objects(text: str) -> Written:
    """Returns what an answer says, or the beginning of one. One of another form is taken for the transcript itself."""
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
    """Returns the values of a list that are written to their ends, and what follows them."""
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
    return isinstance(value, dict) and isinstance(value.get("Content"), str)  # pyright: ignore[reportUnknownMemberType]


def _unquoted(text: str) -> str:
    """Returns what a text in JSON says that has no end, but for an escape that breaks off."""
    for end in (text, text[: text.rfind("\\")]):
        try:
            return _text(json.loads(f'{end}"', strict=False))
        except ValueError:
            continue
    return ""


def _text(content: str) -> str:
    """Returns what can be sent of it: JSON may have half of a character, as where an answer breaks off within one."""
    return content.encode(errors="ignore").decode()


def _is_time(value: Any) -> bool:
    # Digits may go on for longer than any float is large.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _NO_TIME
