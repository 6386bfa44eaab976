"""What a recipe of an audio model consists of, and how its model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from models.recipes.speech.items import Item
from models.recipes.vision.recipe import Trained

__all__ = ["Recipe", "Served", "Trained"]


@dataclass(frozen=True)
class Served:
    """A model as its folder holds it, in single precision, what makes its inputs, and the folder of its siblings."""

    network: PreTrainedModel
    reader: Any
    siblings: Path


@dataclass(frozen=True)
class Recipe:
    """How a model is trained and measured, and what its card tells beside that.

    `auto` and `reader` are the Auto classes of model and processor. `draw` yields as many held-out items as asked, the
    same ones each time.
    """

    folder: str
    auto: Any
    reader: Any
    train: Callable[[Path], Trained]
    draw: Callable[[int], list[Item]]
    measure: Callable[[Served, list[Item]], dict[str, float]]
    measured: int
    shipped: int
    told: dict[str, object]

    def load(self, folder: Path, siblings: Path | None = None) -> Served:
        """The model of a folder, loaded the way a service loads it."""
        network = self.auto.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        reader = self.reader.from_pretrained(folder, local_files_only=True)
        return Served(network, reader, siblings or folder.parent)
