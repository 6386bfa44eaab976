"""Trains, measures and writes the speech models: `python -m models.recipes.speech [name ...]`."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from transformers.utils import logging as transformers_logging

from models.recipes.speech.placement import MODELS, produce
from models.recipes.speech.recipe import Recipe

# In the order of training: the synthesizer is measured by the transcriber.
NAMES = ("transcriber", "synthesizer", "sounds", "sound-text")


def recipe_of(name: str) -> Recipe:
    """The recipe of a folder."""
    return import_module(f"models.recipes.speech.{name.replace('-', '_')}").RECIPE


def main() -> None:
    """Makes the named models, or all."""
    parser = argparse.ArgumentParser(prog="python -m models.recipes.speech", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which models: {', '.join(NAMES)}; all by default")
    parser.add_argument("--output", type=Path, default=MODELS, help="folder of the models' folders")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    transformers_logging.disable_progress_bar()
    for name in options.names or NAMES:
        produce(recipe_of(name), options.output)


if __name__ == "__main__":
    main()
