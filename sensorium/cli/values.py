"""What a person types, as values of the contract's fields."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from google.protobuf.duration_pb2 import Duration

from sensorium.v1.common_pb2 import Media, TokenIds

STANDARD_INPUT = "-"


def text(typed: str) -> str:
    """Returns `typed`, or all of standard input for `-`."""
    return content(typed).decode() if typed == STANDARD_INPUT else typed


def content(typed: str) -> bytes:
    """Returns the bytes of the file named, or of standard input for `-`."""
    if typed == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return Path(typed).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{typed}: {error.strerror}") from None


def media(typed: str) -> Media:
    """Returns the media in the file named, on standard input for `-`, or at a URI, which the service fetches."""
    if "://" in typed:
        return Media(uri=typed)
    # Of no declared type: the service tells it from the bytes, and would refuse what the file's name belies.
    return Media(data=content(typed))


def token_ids(typed: str) -> TokenIds:
    """Returns the ids in `1,2,3`."""
    try:
        return TokenIds(ids=[int(number) for number in typed.replace(",", " ").split()])
    except ValueError:
        raise typer.BadParameter(f"{typed!r} is not a list of token ids such as 1,2,3.") from None


def duration(typed: str) -> Duration:
    """Returns the duration of a number of seconds, with or without an `s` behind it."""
    try:
        seconds = float(typed.removesuffix("s"))
    except ValueError:
        raise typer.BadParameter(f"{typed!r} is not a number of seconds.") from None
    span = Duration()
    span.FromNanoseconds(round(seconds * 1e9))
    return span


def json_value(typed: str) -> Any:
    """Returns the JSON value given in place, in a file as `@file`, or on standard input as `-`."""
    values = json_values(typed)
    if len(values) != 1:
        raise typer.BadParameter(f"One JSON value is needed, not {len(values)}.")
    return values[0]


def json_file(typed: str) -> Any:
    """Returns the JSON value in the file named, or on standard input for `-`."""
    return json_value(typed if typed == STANDARD_INPUT else f"@{typed}")


def json_values(typed: str) -> list[Any]:
    """Returns the JSON values, one behind the other, given in place, as `@file` or as `-`."""
    named = typed.startswith("@") or typed == STANDARD_INPUT
    values: list[Any] = []
    try:
        rest = (content(typed.removeprefix("@")) if named else typed.encode()).decode().strip()
        while rest:
            value, end = json.JSONDecoder().raw_decode(rest)
            values.append(value)
            rest = rest[end:].lstrip()
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"This is not JSON: {error}.") from None
    return values


MESSAGES: dict[str, tuple[Callable[[str], Any], str]] = {
    "sensorium.v1.Media": (media, "FILE"),
    "sensorium.v1.TokenIds": (token_ids, "IDS"),
    "google.protobuf.Duration": (duration, "SECONDS"),
}
"""Messages a person can type in place, by full name: how they are read, and what stands for them in the help."""
