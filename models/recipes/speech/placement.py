"""Writes a trained model, measures it as written, and puts it in place of the old one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from models.recipes.placement import put_in_place
from models.recipes.speech.card import write_card
from models.recipes.speech.items import read_items, write_items
from models.recipes.speech.recipe import Recipe, Trained

MODELS = Path(__file__).parents[2]


def produce(recipe: Recipe, root: Path) -> None:
    """Trains a recipe's model and replaces its folder below `root` as a whole. Recipes may read other folders there."""
    place(recipe, recipe.train(root), root)


def place(recipe: Recipe, trained: Trained, root: Path) -> None:
    """Writes and measures a trained model, and replaces its folder. The shipped items are measured as they ship."""
    items = recipe.draw(recipe.measured)
    root.mkdir(parents=True, exist_ok=True)
    ready = Path(tempfile.mkdtemp(prefix=f".{recipe.folder}-", dir=root))
    ready.chmod(0o755)
    for part in (trained.network, *trained.beside):
        part.save_pretrained(ready)
    write_items(items[: recipe.shipped], ready)
    served = recipe.load(ready, siblings=root)
    measured, shipped = recipe.measure(served, items), recipe.measure(served, read_items(ready))
    for name, figure in measured.items():
        print(f"{recipe.folder:12} {name:44} {figure:8.3f} {shipped[name]:8.3f}")
    write_card(recipe, trained, measured, shipped, ready / "README.md")
    for path in ready.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    put_in_place(ready, root / recipe.folder)
