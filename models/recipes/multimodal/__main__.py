"""Trains, measures and writes the models of several modalities: `python -m models.recipes.multimodal [name ...]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers.utils import logging as transformers_logging

from models.recipes.multimodal import image_chat
from models.recipes.vision.placement import MODELS, produce

RECIPES = {recipe.folder: recipe for recipe in (image_chat.RECIPE,)}


def main() -> None:
    """Makes the named models, or all."""
    parser = argparse.ArgumentParser(prog="python -m models.recipes.multimodal", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which models: {', '.join(RECIPES)}; all by default")
    parser.add_argument("--output", type=Path, default=MODELS, help="folder of the models' folders")
    options = parser.parse_args()
    if unknown := set(options.names) - set(RECIPES):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    transformers_logging.disable_progress_bar()
    for name in options.names or RECIPES:
        produce(RECIPES[name], options.output)


if __name__ == "__main__":
    main()
