"""The model card, written from what was measured, in the form of the vision models' cards."""

from __future__ import annotations

import tomllib
from pathlib import Path

from safetensors import safe_open

from models.recipes.speech.recipe import Recipe, Trained
from models.recipes.vision.card import COLUMNS, REPEATED, TEMPLATE, filled, read_figures, rows

__all__ = ["read_figures", "write_card"]

WORDS = tomllib.loads(Path(__file__).with_name("cards.toml").read_text(encoding="utf-8"))
CODED = "The shipped recordings are coded as Opus, and measured so."
KINDS = {"BF16": "bfloat16", "F16": "float16"}


def write_card(
    recipe: Recipe, trained: Trained, measured: dict[str, float], shipped: dict[str, float], path: Path
) -> None:
    """Fills the template with the recipe's words and the measured figures."""
    words, again = WORDS[recipe.folder], f"`python -m models.recipes.speech {recipe.folder}`"
    size = f"{trained.network.num_parameters():,} parameters in {KINDS[kind_of(path.with_name('model.safetensors'))]}."
    training = f"{trained.minutes:.1f} minutes on {trained.machine}: {trained.told}. {again} repeats it{REPEATED}"
    told = {name: text.format(**recipe.told) for name, text in words.items() if name != "limits"}
    measured_how = f"{told['measured_how']} {COLUMNS} {CODED}"
    text = TEMPLATE.format(
        title=told["title"], summary=filled(told["summary"]), data=filled(told["data"]), training=filled(training),
        architecture=filled(f"{told['architecture']} {size}"), measured_how=filled(measured_how),
        measured=recipe.measured, shipped=recipe.shipped, rows=rows(measured, shipped),
        limits="\n".join(filled("- " + each.format(**recipe.told), subsequent_indent="  ") for each in words["limits"]),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")


def kind_of(weights: Path) -> str:
    """The number format of the matrices in a file of weights."""
    with safe_open(weights, "pt") as held:
        return max((held.get_slice(key) for key in held.keys()), key=lambda s: len(s.get_shape())).get_dtype()  # noqa: SIM118
