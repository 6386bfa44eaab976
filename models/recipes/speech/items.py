"""Held-out items: a recording and what is expected of it; as files beside a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

LIST = "held_out.jsonl"
SOUNDS = "held_out"
FORMAT = {"format": "OGG", "subtype": "OPUS"}


@dataclass(frozen=True)
class Item:
    """A sound and its rate, or none where the model makes sound, and the expected answer as JSON."""

    expected: dict[str, Any]
    samples: NDArray[np.float32] | None = None
    rate: int = 0


def write_items(items: list[Item], folder: Path) -> None:
    """Writes one Ogg file per sound, and one line per item that names it and holds the expected answer."""
    lines = []
    for at, item in enumerate(items):
        row = dict(item.expected)
        if item.samples is not None:
            row = {"audio": f"{SOUNDS}/{at:02}.ogg"} | row
            (folder / SOUNDS).mkdir(exist_ok=True)
            soundfile.write(folder / row["audio"], item.samples, item.rate, **FORMAT)
        lines.append(json.dumps(row))
    (folder / LIST).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_items(folder: Path) -> list[Item]:
    """Reads what `write_items` wrote."""
    return [read_item(json.loads(line), folder) for line in (folder / LIST).read_text("utf-8").splitlines()]


def read_item(row: dict[str, Any], folder: Path) -> Item:
    """One item with its sound."""
    if "audio" not in row:
        return Item(row)
    samples, rate = soundfile.read(folder / row.pop("audio"), dtype="float32")
    return Item(row, samples, rate)
