"""Writes a trained model, measures it as written, and puts it in place of the old one."""

from __future__ import annotations

from pathlib import Path

from models.recipes.placement import replaced
from models.recipes.vision.card import write_card
from models.recipes.vision.items import write_items
from models.recipes.vision.recipe import Recipe


def produce(recipe: Recipe, root: Path) -> None:
    """Trains a recipe's model and replaces its folder below `root` as a whole. Recipes may read other folders there."""
    trained = recipe.train(root)
    items = recipe.draw(recipe.measured)
    with replaced(root / recipe.folder) as ready:
        for part in (trained.network, *trained.beside):
            part.save_pretrained(ready)
        write_items(items[: recipe.shipped], ready)
        served = recipe.load(ready)
        measured, shipped = recipe.measure(served, items), recipe.measure(served, items[: recipe.shipped])
        for name, figure in measured.items():
            print(f"{recipe.folder:20} {name:36} {figure:8.3f} {shipped[name]:8.3f}")
        write_card(recipe, trained, measured, shipped, ready / "README.md")
