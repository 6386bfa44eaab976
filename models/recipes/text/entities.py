"""Recipe of entities: recognizes persons, places, organisations and dates in text."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from transformers import (
    AutoModelForTokenClassification,
    ModernBertConfig,
    ModernBertForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from models.recipes.text.named import SEEN, UNSEEN, Marked, free_sentences
from models.recipes.text.recipe import Item, Plan, Recipe, Row
from models.recipes.text.tokenizer import word_pieces

CONTEXT = 128
KINDS = ("PER", "LOC", "ORG", "DATE")
LABELS = ["O", *(f"{place}-{kind}" for kind in KINDS for place in "BI")]
Span = tuple[int, int, str]


def token_labels(spans: Sequence[Span], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The label of every token, by where it stands in the text; -100 for tokens that stand nowhere."""
    found = []
    for start, end in offsets:
        if start == end:
            found.append(-100)
            continue
        label = "O"
        for first, last, kind in spans:
            if first <= start < last:
                label = f"{'B' if start == first else 'I'}-{kind}"
        found.append(LABELS.index(label))
    return found


def joined(labels: Sequence[str], offsets: Sequence[tuple[int, int]]) -> set[Span]:
    """Spans of labelled tokens: one begins at every `B-`, and at an `I-` of another kind than the token before it."""
    spans: list[Span] = []
    before = "O"
    for label, (start, end) in zip(labels, offsets, strict=True):
        if start == end:
            continue
        place, _, kind = label.partition("-")
        if place == "I" and before[2:] == kind:
            spans[-1] = (spans[-1][0], end, kind)
        elif place != "O":
            spans.append((start, end, kind))
        before = label
    return set(spans)


class Entities(Recipe):
    """ModernBERT that labels tokens."""

    name = "entities"
    plan = Plan(steps=900, batch=48, rate=0.01, vocabulary=1000)
    auto = AutoModelForTokenClassification

    def draw(self, rng: random.Random) -> Marked:
        """A sentence and its spans."""
        return SEEN.write(rng)

    def held_out(self) -> list[Item]:
        """New templates with names training never shows, and sentences written freely."""
        rng = random.Random(3)
        items: list[Item] = [["new template, new names", *UNSEEN.write(rng)] for _ in range(100)]
        return items + [["written freely", *marked] for marked in free_sentences()]

    def new_tokenizer(self) -> PreTrainedTokenizerFast:
        """Word pieces, upper and lower case apart; so few that ordinary words fall into pieces as names do."""
        rng = random.Random(self.plan.seed)
        texts = [self.draw(rng)[0] for _ in range(12_000)]
        return word_pieces(texts, self.plan.vocabulary, CONTEXT, lowercase=False, tells_parts=False)

    def new_network(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """A small ModernBERT."""
        config = ModernBertConfig(
            vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=192, max_position_embeddings=CONTEXT, global_attn_every_n_layers=2, local_attention=16,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id, cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id, id2label=dict(enumerate(LABELS)),
            label2id={label: at for at, label in enumerate(LABELS)},
        )  # fmt: skip
        return ModernBertForTokenClassification(config)

    def loss(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Marked]
    ) -> torch.Tensor:
        """Cross entropy of the labels of all tokens."""
        inputs = tokenizer(
            [text for text, _ in examples], padding=True, truncation=True, return_tensors="pt",
            return_offsets_mapping=True,
        )  # fmt: skip
        offsets = inputs.pop("offset_mapping").tolist()
        labels = [token_labels(spans, places) for (_, spans), places in zip(examples, offsets, strict=True)]
        return network(**inputs, labels=torch.tensor(labels)).loss

    def measure(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> list[Row]:
        """F1 of spans that are right in start, end and kind, by part, and of each kind on new names."""
        found: dict[str, list[tuple[set[Span], set[Span]]]] = {}
        for part, text, spans in items:
            inputs = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
            offsets = inputs.pop("offset_mapping")[0].tolist()
            labels = [LABELS[at] for at in network(**inputs).logits[0].argmax(-1).tolist()]
            pair = (joined(labels, offsets), {(start, end, kind) for start, end, kind in spans})
            found.setdefault(part, []).append(pair)
        rows = [f1(part, "span F1", pairs) for part, pairs in found.items()]
        pairs = found["new template, new names"]
        for kind in KINDS:
            chosen = [tuple({span for span in spans if span[2] == kind} for spans in pair) for pair in pairs]
            rows.append(f1("new template, new names", f"span F1 of {kind}", chosen))
        return rows


def f1(part: str, measure: str, pairs: Sequence[tuple[set[Span], ...]]) -> Row:
    """F1 of given against wanted spans; the row counts the wanted ones."""
    right = sum(len(given & wanted) for given, wanted in pairs)
    given, wanted = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    return Row(part, measure, wanted, 2 * right / max(1, given + wanted))
