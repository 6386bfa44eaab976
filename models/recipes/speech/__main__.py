"""Trains, measures and writes the speech models: `python -m models.recipes.speech [name ...]`."""

from __future__ import annotations

from importlib import import_module

from models.recipes.command import make_models
from models.recipes.speech.placement import produce
from models.recipes.speech.recipe import Recipe

# In the order of training: the synthesizer is measured by the transcriber.
NAMES = ("transcriber", "synthesizer", "sounds", "sound-text")


def recipe_of(name: str) -> Recipe:
    """The recipe of a folder."""
    return import_module(f"models.recipes.speech.{name.replace('-', '_')}").RECIPE


def main() -> None:
    """Makes the named models, or all."""
    make_models("speech", __doc__, NAMES, lambda name, root: produce(recipe_of(name), root))


if __name__ == "__main__":
    main()
