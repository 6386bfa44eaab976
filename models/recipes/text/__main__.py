"""Trains, measures and writes the small text models: `python -m models.recipes.text [name ...]`."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import torch
from transformers import PreTrainedModel, set_seed
from transformers.utils import logging as transformers_logging

from models.recipes.placement import put_in_place
from models.recipes.text.card import write_card
from models.recipes.text.catalog import RECIPES
from models.recipes.text.recipe import Recipe
from models.recipes.text.training import train

OUTPUT = Path(__file__).parents[2]


def read_options() -> argparse.Namespace:
    """Which models to train, and where to put them."""
    parser = argparse.ArgumentParser(prog="python -m models.recipes.text", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"all if none is named: {', '.join(RECIPES)}")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder in which each model's folder is replaced")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in RECIPES]:
        parser.error(f"no recipe of this name: {', '.join(unknown)}")
    return options


def reloaded(recipe: Recipe, folder: Path) -> PreTrainedModel:
    """The model as written, to measure what ships."""
    return recipe.auto.from_pretrained(folder, dtype=torch.float32).eval()


def make(recipe: Recipe, output: Path) -> None:
    """Trains one model beside its place, measures it as written, adds the card and puts it in place."""
    output.parent.mkdir(parents=True, exist_ok=True)
    items = recipe.held_out()
    tokenizer = recipe.new_tokenizer()
    set_seed(recipe.plan.seed)
    network = recipe.new_network(tokenizer)
    minutes = train(recipe, network, tokenizer)
    ready = Path(tempfile.mkdtemp(prefix=f".{recipe.name}-", dir=output.parent))
    ready.chmod(0o755)
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
    for path in ready.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    put_in_place(ready, output)
    print(f"wrote {os.path.relpath(output)} after {minutes:.1f} minutes of training")


def main() -> None:
    """Makes the models named, one after the other."""
    options = read_options()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name in options.names or RECIPES:
        make(RECIPES[name], options.output / name)


if __name__ == "__main__":
    main()
