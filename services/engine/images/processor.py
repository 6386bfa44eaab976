"""Reading of transformers' image processors that need no torchvision."""

import importlib
from contextlib import suppress
from functools import cache
from typing import Any

# transformers 5.17 takes each file that has the name of its torchvision backend in it, be it in a comment, for one that
# needs torchvision, and gives out an empty class from its packages. This file is one of them.
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from services.engine.checkpoint import Checkpoint

_MISJUDGED = {
    "idefics2": "Idefics2ImageProcessorPil",
    "idefics3": "Idefics3ImageProcessorPil",
    "ovis2": "Ovis2ImageProcessorPil",
    "segformer": "SegformerImageProcessorPil",
    "smolvlm": "SmolVLMImageProcessorPil",
}
"""Classes of others, by their packages. Later versions give out the classes themselves."""


def read_image_processor(checkpoint: Checkpoint) -> Any:
    """Returns the checkpoint's processor. Raises what reading a checkpoint raises."""
    show_image_processors()
    # The other backend needs torchvision; this one is the reference that checkpoints were evaluated with.
    return AutoImageProcessor.from_pretrained(checkpoint.source, **checkpoint.shared, backend="pil")


@cache
def show_image_processors() -> None:
    """Lets the packages of transformers give out the classes that are in their files."""
    for package, name in _MISJUDGED.items():
        with suppress(ImportError, AttributeError):  # of a version that has it elsewhere, and so gives it out
            file = importlib.import_module(f"transformers.models.{package}.image_processing_pil_{package}")
            setattr(importlib.import_module(f"transformers.models.{package}"), name, getattr(file, name))
