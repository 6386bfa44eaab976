"""Trains, measures and writes the vision models: `python -m models.recipes.vision [name ...]`."""

from __future__ import annotations

from importlib import import_module

from models.recipes.command import make_models
from models.recipes.vision.placement import produce
from models.recipes.vision.recipe import Recipe

# In the order of training: the open detector begins with the towers of image-text.
NAMES = (
    "digits", "image-text", "detector", "open-detector", "semantic-segmenter", "panoptic-segmenter",
    "prompted-segmenter", "depth", "upscaler",
)  # fmt: skip


def recipe_of(name: str) -> Recipe:
    """The recipe of a folder."""
    return import_module(f"models.recipes.vision.{name.replace('-', '_')}").RECIPE


def main() -> None:
    """Makes the named models, or all."""
    make_models("vision", __doc__, NAMES, lambda name, root: produce(recipe_of(name), root))


if __name__ == "__main__":
    main()
