"""What a recipe consists of, and how its model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from models.recipes.vision.items import Item


@dataclass(frozen=True)
class Trained:
    """A trained network, what lies beside its weights, and what the training took."""

    network: PreTrainedModel
    beside: tuple[Any, ...]
    minutes: float
    told: str
    machine: str = "one thread of a CPU"
    """What the minutes are of."""


@dataclass(frozen=True)
class Served:
    """A model as its folder holds it, in single precision."""

    network: PreTrainedModel
    images: Any
    tokenizer: Any = None


@dataclass(frozen=True)
class Recipe:
    """How a model is trained and measured, and what its card tells beside that.

    `draw` yields as many held-out items as asked, the same ones each time.
    """

    folder: str
    auto: Any
    train: Callable[[Path], Trained]
    draw: Callable[[int], list[Item]]
    measure: Callable[[Served, list[Item]], dict[str, float]]
    measured: int
    shipped: int
    told: dict[str, object]
    with_text: bool = False
    package: str = "vision"
    """The folder of the recipe, which holds the words of its card too."""

    def load(self, folder: Path) -> Served:
        """The model of a folder, loaded the way a service loads it."""
        network = self.auto.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        images = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True) if self.with_text else None
        return Served(network, images, tokenizer)
