"""Held-out items: an image, what is expected of it, and expected maps; as files beside a model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

LIST = "held_out.jsonl"
IMAGES = "held_out"


@dataclass(frozen=True)
class Item:
    """An image, the expected answer as JSON, and expected maps (masks, depth, pixels) by name."""

    image: Image.Image
    expected: dict[str, Any]
    maps: dict[str, Image.Image] = field(default_factory=dict)


def write_items(items: list[Item], folder: Path) -> None:
    """Writes one PNG per image and map, and one line per item that names them and holds the expected answer."""
    (folder / IMAGES).mkdir()
    lines = []
    for at, item in enumerate(items):
        files = {"image": f"{IMAGES}/{at:02}.png"} | {name: f"{IMAGES}/{at:02}-{name}.png" for name in item.maps}
        for path, image in zip(files.values(), (item.image, *item.maps.values()), strict=True):
            image.save(folder / path, optimize=True)
        lines.append(json.dumps({**files, **item.expected}))
    (folder / LIST).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_items(folder: Path) -> list[Item]:
    """Reads what `write_items` wrote."""
    return [read_item(json.loads(line), folder) for line in (folder / LIST).read_text("utf-8").splitlines()]


def read_item(row: dict[str, Any], folder: Path) -> Item:
    """One item: values that name a PNG of the folder are its images."""
    images = {key: Image.open(folder / value) for key, value in row.items() if is_image(value)}
    for image in images.values():
        image.load()
    return Item(images.pop("image"), {k: v for k, v in row.items() if not is_image(v)}, images)


def is_image(value: object) -> bool:
    """Whether a value names an image of the held-out items."""
    return isinstance(value, str) and value.startswith(IMAGES + "/")
