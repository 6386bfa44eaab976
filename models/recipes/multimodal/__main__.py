"""Trains, measures and writes the models of several modalities: `python -m models.recipes.multimodal [name ...]`."""

from __future__ import annotations

from models.recipes.command import make_models
from models.recipes.multimodal import image_chat
from models.recipes.vision.placement import produce

RECIPES = {recipe.folder: recipe for recipe in (image_chat.RECIPE,)}


def main() -> None:
    """Makes the named models, or all."""
    make_models("multimodal", __doc__, RECIPES, lambda name, root: produce(RECIPES[name], root))


if __name__ == "__main__":
    main()
