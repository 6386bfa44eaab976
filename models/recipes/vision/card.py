"""The model card, written from what was measured."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

from models.recipes.vision.recipe import Recipe, Trained

RECIPES = Path(__file__).parents[1]
TEMPLATE = """# {title}

{summary}

## Data

{data}

## Architecture

{architecture}

## Training

{training}

## Quality

{measured_how}

| Measure | Held out ({measured}) | Shipped ({shipped}) |
| --- | ---: | ---: |
{rows}

## Limits

{limits}
"""


REPEATED = ", not to the bit on another machine."
COLUMNS = (
    "The last column repeats it on the first of the held-out items, which `held_out.jsonl` holds and the tests measure."
)


def rows(measured: dict[str, float], shipped: dict[str, float]) -> str:
    """The table of quality, one row per measure."""
    return "\n".join(f"| {name} | {figure:.3f} | {shipped[name]:.3f} |" for name, figure in measured.items())


def filled(text: str, **layout: str) -> str:
    """Text in lines of at most 120 characters, none of which breaks a piece of code."""
    whole = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\0"), " ".join(text.split()))
    lines = textwrap.fill(whole, 120, break_on_hyphens=False, break_long_words=False, **layout)
    return lines.replace("\0", " ")


def write_card(
    recipe: Recipe, trained: Trained, measured: dict[str, float], shipped: dict[str, float], path: Path
) -> None:
    """Fills the template with the recipe's words and the measured figures."""
    words = tomllib.loads((RECIPES / recipe.package / "cards.toml").read_text(encoding="utf-8"))[recipe.folder]
    again = f"`python -m models.recipes.{recipe.package} {recipe.folder}`"
    size = f"{trained.network.num_parameters():,} parameters in bfloat16."
    training = f"{trained.minutes:.1f} minutes on {trained.machine}: {trained.told}. {again} repeats it{REPEATED}"
    told = {name: text.format(**recipe.told) for name, text in words.items() if name != "limits"}
    text = TEMPLATE.format(
        title=told["title"], summary=filled(told["summary"]), data=filled(told["data"]), training=filled(training),
        architecture=filled(f"{told['architecture']} {size}"), measured_how=filled(f"{told['measured_how']} {COLUMNS}"),
        measured=recipe.measured, shipped=recipe.shipped, rows=rows(measured, shipped),
        limits="\n".join(filled("- " + limit, subsequent_indent="  ") for limit in words["limits"]),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")


def read_figures(card: Path) -> dict[str, tuple[float, float]]:
    """The measures of a card: on all held-out items, and on the shipped ones."""
    found = {}
    for line in card.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and cells[1][:1].isdigit():
            found[cells[0]] = (float(cells[1]), float(cells[2]))
    return found
