"""One question to a model, its answer, and what was expected."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from sensorium import Client

Items = list[Any]
"""Held-out items, as the model's folder lists them."""


@dataclass(frozen=True)
class Shown:
    """A question with its answer, for people."""

    asked: str
    """The question, or what stands for its picture where there are no colours."""
    answer: str
    right: bool
    picture: Text | None = None


@dataclass(frozen=True)
class Exhibit:
    """What is asked of one model."""

    rpc: str
    """As the contract calls it."""
    ask: Callable[[Client, Path, Items], Iterable[Shown]]
    """Asks about some held-out items of the model in a folder."""


def items_of(folder: Path) -> Items:
    """Returns the held-out items of a model."""
    return [json.loads(line) for line in (folder / "held_out.jsonl").read_text().splitlines()]


def some(items: Sequence[Any], count: int = 3) -> list[Any]:
    """Returns a few items from all over the list, always the same."""
    return [items[len(items) * place // count] for place in range(count)]


def short(text: str, width: int = 64) -> str:
    """Returns the text, or its beginning."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
