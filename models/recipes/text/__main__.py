"""Trains, measures and writes the small text models: `python -m models.recipes.text [name ...]`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from transformers import PreTrainedModel, set_seed

from models.recipes.command import make_models
from models.recipes.placement import replaced
from models.recipes.text.card import write_card
from models.recipes.text.catalog import RECIPES
from models.recipes.text.recipe import Recipe
from models.recipes.text.training import train


def reloaded(recipe: Recipe, folder: Path) -> PreTrainedModel:
    """The model as written, to measure what ships."""
    return recipe.auto.from_pretrained(folder, dtype=torch.float32).eval()


def make(recipe: Recipe, root: Path) -> None:
    """Trains one model beside its place, measures it as written, adds the card and puts it in place."""
    items = recipe.held_out()
    tokenizer = recipe.new_tokenizer()
    set_seed(recipe.plan.seed)
    network = recipe.new_network(tokenizer)
    minutes = train(recipe, network, tokenizer)
    with replaced(root / recipe.name) as ready:
        network.save_pretrained(ready)
        tokenizer.save_pretrained(ready)
        for name, content in recipe.further_files().items():
            (ready / name).parent.mkdir(exist_ok=True)
            (ready / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        lines = [json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in items]
        (ready / "held_out.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        network = reloaded(recipe, ready)
        with torch.inference_mode():
            rows = recipe.measure(network, tokenizer, items)
        for row in rows:
            print(f"{recipe.name}: {row.part:40} {row.measure:22} {row.items:4}  {row.value:6.1%}")
        write_card(recipe, network, minutes, rows, ready / "README.md")
    print(f"wrote {os.path.relpath(root / recipe.name)} after {minutes:.1f} minutes of training")


def main() -> None:
    """Makes the models named, one after the other."""
    torch.set_num_threads(1)
    make_models("text", __doc__, RECIPES, lambda name, root: make(RECIPES[name], root))


if __name__ == "__main__":
    main()
