"""The types of exhibits: example calls of one model, with answers that are checked."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from sensorium import Client

Items = list[Any]
"""Held-out items, the parsed lines of a model's `held_out.jsonl`."""


@dataclass(frozen=True)
class Shown:
    """One call and its answer, as text."""

    asked: str
    """The question, also shown instead of `picture` in a terminal without colours."""
    answer: str
    right: bool
    picture: Text | None = None


@dataclass(frozen=True)
class Exhibit:
    """The example calls of one model."""

    rpc: str
    """Name of the RPC."""
    ask: Callable[[Client, Path, Items], Iterable[Shown]]
    """Calls the model of a folder with some of its held-out items."""


def items_of(folder: Path) -> Items:
    """Returns the held-out items of a model."""
    return [json.loads(line) for line in (folder / "held_out.jsonl").read_text().splitlines()]


def some(items: Sequence[Any], count: int = 3) -> list[Any]:
    """Returns `count` evenly spaced items of the list."""
    return [items[len(items) * place // count] for place in range(count)]


def short(text: str, width: int = 64) -> str:
    """Returns the text, shortened to `width` characters."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
