"""Answers questions about a page with some of its words: a small LayoutLM that reads words and where they stand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForDocumentQuestionAnswering,
    AutoTokenizer,
    LayoutLMConfig,
    LayoutLMForQuestionAnswering,
    PreTrainedTokenizerFast,
)

from models.recipes.multimodal.pages import HEIGHT, LAYOUTS, ROLES, TAUGHT, WIDTH, Page, PageWriter, ask, fields_missing
from models.recipes.text.tokenizer import word_pieces
from models.recipes.vision.items import Item
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.training import Plan, fit, seeded

PLAN = Plan(steps=3000, batch=32, rate=0.01, muon=True, of="questions")
VOCABULARY = 1500
CONTEXT = 256
HELD_OUT_SEED = 1009
MISSING = 0.1
"""How often a question asks for what the page does not say; its answer is the first token."""
QUESTIONS = 4
"""Questions about each held-out page."""
LONGEST_ANSWER = 15
UNTOLD = -100
NOWHERE, EVERYWHERE = (0, 0, 0, 0), (1000, 1000, 1000, 1000)


@dataclass(frozen=True)
class Asked:
    """A page, a question, and the answer's first and last word; none if the page does not tell."""

    page: Page
    question: str
    words: tuple[int, int] | None


def draw_asked(rng: random.Random, writer: PageWriter) -> Asked:
    """A question of training."""
    page = writer.write(rng, rng.choice(TAUGHT))
    if rng.random() < MISSING:
        return Asked(page, ask(rng, rng.choice(fields_missing(page)), held_out=False), None)
    entry = rng.choice(page.entries)
    return Asked(page, ask(rng, entry.name, held_out=False), (entry.first, entry.last))


def thousandths(box: Sequence[float]) -> list[int]:
    """A box in thousandths of the page."""
    sides = zip(box, (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True)
    return [int(1000 * place / whole) for place, whole in sides]


def encoded(
    tokenizer: PreTrainedTokenizerFast, questions: list[str], words: list[list[str]], boxes: list[list[Sequence[float]]]
) -> tuple[dict[str, Tensor], list[list[int]]]:
    """What the network reads, and to which word each token belongs (-1: to none)."""
    inputs = tokenizer(
        [q.split() for q in questions], words, is_split_into_words=True, padding=True, truncation="only_second",
        return_tensors="pt",
    )  # fmt: skip
    places, belongs = [], []
    for at, theirs in enumerate(boxes):
        known = [thousandths(box) for box in theirs]
        of = zip(inputs["input_ids"][at].tolist(), inputs.sequence_ids(at), inputs.word_ids(at), strict=True)
        rows = [(token, word if part == 1 else -1) for token, part, word in of]
        belongs.append([word for _, word in rows])
        places.append([
            known[word] if word >= 0 else EVERYWHERE if token == tokenizer.sep_token_id else NOWHERE
            for token, word in rows
        ])  # fmt: skip
    return {**inputs, "bbox": torch.tensor(places)}, belongs


class Taught(nn.Module):
    """The network with one more reading, for training alone: what each word of the page is.

    The two ends of an answer alone teach slowly how values belong to labels.
    """

    def __init__(self, network: LayoutLMForQuestionAnswering) -> None:
        super().__init__()
        self.network = network
        self.roles = nn.Linear(network.config.hidden_size, len(ROLES))

    def loss(self, tokenizer: PreTrainedTokenizerFast, asked: list[Asked]) -> Tensor:
        """Cross entropies of the first and the last token of the answer, and of what the words are."""
        inputs, belongs = encoded(
            tokenizer, [a.question for a in asked], [[w.text for w in a.page.words] for a in asked],
            [[w.box for w in a.page.words] for a in asked],
        )  # fmt: skip
        hidden = self.network.layoutlm(**inputs).last_hidden_state
        starts, ends = self.network.qa_outputs(hidden).unbind(-1)
        words = torch.tensor(belongs)
        own = words >= 0
        own[:, 0] = True
        wanted = torch.tensor([bounds_of(of, a.words) for of, a in zip(belongs, asked, strict=True)])
        told = torch.tensor([
            [ROLES.index(a.page.roles[word]) if word >= 0 else UNTOLD for word in of]
            for of, a in zip(belongs, asked, strict=True)
        ])  # fmt: skip
        return (
            nn.functional.cross_entropy(starts.masked_fill(~own, -1e4), wanted[:, 0])
            + nn.functional.cross_entropy(ends.masked_fill(~own, -1e4), wanted[:, 1])
            + nn.functional.cross_entropy(self.roles(hidden).flatten(0, 1), told.flatten(), ignore_index=UNTOLD)
        )


def bounds_of(belongs: list[int], words: tuple[int, int] | None) -> tuple[int, int]:
    """The first and last token of some words; twice the first token for none, or where the page was cut before them."""
    if words is None or words[1] not in belongs:
        return 0, 0
    return belongs.index(words[0]), len(belongs) - 1 - belongs[::-1].index(words[1])


def train(_: Path) -> Trained:
    """Trains on pages drawn anew for each step."""
    seeded(PLAN.seed)
    writer, rng = PageWriter(held_out=False), random.Random(PLAN.seed)
    tokenizer = new_tokenizer(writer)
    network = LayoutLMForQuestionAnswering(LayoutLMConfig(
        vocab_size=len(tokenizer), hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256,
        max_position_embeddings=CONTEXT, max_2d_position_embeddings=1024, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=tokenizer.pad_token_id,
    ))  # fmt: skip
    taught = Taught(network)

    def loss_at(_: np.random.Generator) -> Tensor:
        return taught.loss(tokenizer, [draw_asked(rng, writer) for _ in range(PLAN.batch)])

    minutes = fit(taught, PLAN, loss_at)
    return Trained(network, (tokenizer,), minutes, PLAN.told)


def new_tokenizer(writer: PageWriter) -> PreTrainedTokenizerFast:
    """Word pieces of pages and questions."""
    rng = random.Random(PLAN.seed)
    drawn = [draw_asked(rng, writer) for _ in range(6000)]
    texts = (f"{a.question} {' '.join(word.text for word in a.page.words)}" for a in drawn)
    return word_pieces(texts, VOCABULARY, CONTEXT)


def draw(count: int, seed: int = HELD_OUT_SEED) -> list[Item]:
    """Held-out pages with questions, half of each page's questions put in ways that are held out too."""
    rng, writer = random.Random(seed), PageWriter(held_out=True)
    found = []
    for at in range(count):
        layout = tuple(LAYOUTS)[at % len(LAYOUTS)]
        page = writer.write(rng, layout)
        asked = []
        for entry in rng.sample(page.entries, min(QUESTIONS, len(page.entries))):
            is_new = len(asked) % 2 == 1
            part = layout if layout not in TAUGHT or not is_new else "new ways to ask"
            asked.append([part, ask(rng, entry.name, held_out=is_new), page.value(entry)])
        words = [{"text": w.text, "box": [round(side, 1) for side in w.box]} for w in page.words]
        found.append(Item(page.image, {"kind": page.kind, "words": words, "asked": asked}))
    return found


@torch.inference_mode()
def answer(served: Served, question: str, words: list[dict[str, Any]]) -> str:
    """The likeliest words of the page."""
    inputs, (belongs,) = encoded(
        served.tokenizer, [question], [[w["text"] for w in words]], [[w["box"] for w in words]]
    )  # fmt: skip
    output = served.network(**inputs)
    own = torch.tensor(belongs) >= 0
    start, end = (s[0].masked_fill(~own, -1e9).softmax(-1) for s in (output.start_logits, output.end_logits))
    scores = torch.outer(start, end).triu()
    order = torch.tensor(belongs)
    scores[(order[None] - order[:, None]) >= LONGEST_ANSWER] = 0
    first, last = divmod(int(scores.argmax()), len(end))
    return " ".join(w["text"] for w in words[belongs[first] : belongs[last] + 1])


def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """How many answers are exact: in layouts of training, put in ways never heard, and in a layout never seen."""
    marks: dict[str, list[bool]] = {}
    for item in items:
        for part, question, wanted in item.expected["asked"]:
            marks.setdefault(part, []).append(answer(served, question, item.expected["words"]) == wanted)
    return {f"exact, {part}": float(np.mean(right)) for part, right in marks.items()}


class PageRecipe(Recipe):
    """A recipe whose model reads words and boxes, not images."""

    def load(self, folder: Path) -> Served:
        """The model of a folder, loaded the way a service loads it."""
        network = self.auto.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        return Served(network, None, AutoTokenizer.from_pretrained(folder, local_files_only=True))


RECIPE = PageRecipe(
    folder="form-reader", auto=AutoModelForDocumentQuestionAnswering, train=train, draw=draw, measure=measure,
    measured=250, shipped=15, package="multimodal",
    told={},
)  # fmt: skip
