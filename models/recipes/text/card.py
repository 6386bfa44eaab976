"""The model cards: a page of prose for every model, completed with what was measured."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from models.recipes.text.recipe import Recipe, Row

PAGES = Path(__file__).parent / "cards"
SHARED = (PAGES / "shared.md").read_text(encoding="utf-8")


def table(rows: list[Row]) -> str:
    """The rows of the table of quality."""
    return "\n".join(f"| {row.part} | {row.measure} | {row.items} | {row.value:.1%} |" for row in rows)


def architecture(network: PreTrainedModel) -> str:
    """Class and size of the network, read from its configuration."""
    config = network.config
    return (
        f"`{type(network).__name__}`: {config.num_hidden_layers} layers of width {config.hidden_size}, "
        f"{config.num_attention_heads} heads"
    )


def write_card(recipe: Recipe, network: PreTrainedModel, minutes: float, rows: list[Row], path: Path) -> None:
    """Writes the card: what the model is, what made it, and how well it does."""
    plan = recipe.plan
    made = SHARED.format(
        architecture=architecture(network), parameters=f"{network.num_parameters():,}",
        vocabulary=f"{network.config.vocab_size:,}", minutes=f"{minutes:.1f}", steps=f"{plan.steps:,}",
        batch=plan.batch, rate=f"{plan.rate:g}", seed=plan.seed, name=recipe.name, rows=table(rows),
    )  # fmt: skip
    page = (PAGES / f"{recipe.name}.md").read_text(encoding="utf-8")
    path.write_text(page.replace("{made}", made.strip()), encoding="utf-8")
