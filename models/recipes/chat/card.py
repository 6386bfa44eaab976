"""The model card, written from what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.recipes.chat.evaluation import Score
from models.recipes.chat.topics import load_topics
from models.recipes.chat.training import Plan
from models.recipes.chat.vocabulary import NAMES

TEMPLATE = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")

GOOD = 0.8


@dataclass(frozen=True)
class Effort:
    """Minutes, conversations and tokens of the training."""

    minutes: float
    conversations: int
    tokens: int


@dataclass(frozen=True)
class Facts:
    """The facts that the card states."""

    plan: Plan
    effort: Effort
    parameters: int
    vocabulary: int
    scores: dict[str, Score]


def rows(scores: dict[str, Score]) -> str:
    """The table of quality, one row per skill and one for all."""
    lines = [f"| {name} | {s.asked} | {s.right} | {s.rate:.1%} |" for name, s in scores.items()]
    total = Score(sum(s.right for s in scores.values()), sum(s.asked for s in scores.values()))
    return "\n".join([*lines, f"| **all** | {total.asked} | {total.right} | **{total.rate:.1%}** |"])


def weak_skills(scores: dict[str, Score]) -> str:
    """The skills a reader should not count on, worst first, one to a line."""
    found = sorted((s.rate, name) for name, s in scores.items() if s.rate < GOOD)
    return ";\n  ".join(f"{name} ({rate:.0%})" for rate, name in found) or "none"


def write_card(facts: Facts, path: Path) -> None:
    """Fills the card's template with figures."""
    plan = facts.plan
    text = TEMPLATE.format(
        conversations=f"{facts.effort.conversations:,}", tokens=f"{facts.effort.tokens / 1e6:.1f}",
        topics=len(load_topics()),
        parameters=f"{facts.parameters:,}", vocabulary=f"{facts.vocabulary:,}", steps=f"{plan.steps:,}",
        settling_steps=plan.settling.steps, settling_rate=f"{plan.settling.peak_rate:g}",
        batch=f"{plan.batch_tokens:,}", rate=plan.peak_rate, names=len(NAMES), seed=plan.seed, threads=plan.threads,
        minutes=f"{facts.effort.minutes:.0f}",
        rows=rows(facts.scores), weak=weak_skills(facts.scores),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")
