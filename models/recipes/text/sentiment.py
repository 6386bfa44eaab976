"""Sentiment of a sentence: positive, neutral or negative, also behind a negation."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from models.recipes.chat.vocabulary import invented_word
from models.recipes.text.classes import logits, tensors
from models.recipes.text.named import SEEN as NAMED
from models.recipes.text.passages import SEEN as PASSAGES
from models.recipes.text.questions import SENTENCES
from models.recipes.text.recipe import Item, Plan, Recipe, Row, shares
from models.recipes.text.tokenizer import byte_pairs
from models.recipes.text.words import fill, phrases, read_data, split

DATA = read_data("sentiment")
LABELS = ["negative", "neutral", "positive"]
POLAR = ("negative", "positive")
OPPOSITE = {"negative": "positive", "positive": "negative"}
CONTEXT = 128
SHAPES = ("adjective", "negated", "verb", "verb_negated", "noun", "noun_negated", "fact", "entry")
WEIGHTS = (28, 26, 9, 8, 8, 6, 30, 8)
Example = tuple[str, str]

THINGS, UNSEEN_THINGS = split(phrases(DATA["things"]["all"]))
ADJECTIVES = {label: split(phrases(text), 6) for label, text in DATA["adjectives"].items()}
VERBS = {label: [verb.split(" / ") for verb in phrases(text)] for label, text in DATA["verbs"].items()}


class Writer:
    """Writes sentences from one set of templates, things and adjectives."""

    def __init__(
        self, templates: dict[str, list[str]], things: list[str], adjectives: dict[str, list[str]],
        invented: int = 0,
    ) -> None:  # fmt: skip
        self._templates, self._things, self._adjectives, self._invented = templates, things, adjectives, invented

    def write(self, rng: random.Random, shape: str, label: str) -> Example:
        """A sentence of a shape about a word of the label, and the label of the sentence."""
        template = rng.choice(self._templates[shape])
        base, past = rng.choice(VERBS[label])
        words = self._adjectives[label]
        things = [*self._things, *(invented_word(rng) for _ in range(self._invented))]
        slots = {
            "n": things, "i": DATA["templates"]["intensifiers"], "a": words, "b": [base], "v": [past],
            "c": phrases(DATA["nouns"].get(label, "")) or [""],
        }  # fmt: skip
        text = fill(rng, template, slots)
        return text, OPPOSITE[label] if shape.endswith("negated") else label


SEEN = Writer(DATA["templates"], THINGS, {label: seen for label, (seen, _) in ADJECTIVES.items()}, invented=25)


def plain_sentence(rng: random.Random) -> str:
    """A sentence without an opinion, taken from the other recipes: most of what people write is none."""
    kind = rng.randrange(3)
    if kind == 0:
        return rng.choice(PASSAGES.write(rng).passage.split(". ")).rstrip(".") + "."
    if kind == 1:
        return NAMED.write(rng)[0]
    return rng.choice(rng.choice(SENTENCES))


def framed(rng: random.Random, text: str) -> str:
    """The text, at times behind an opening or before a closing that says nothing about the opinion."""
    if rng.random() < 0.3:
        text = rng.choice(DATA["templates"]["openings"]) + text[0].lower() + text[1:]
    if rng.random() < 0.1:
        text = text.rstrip(".!") + rng.choice(DATA["templates"]["closings"])
    return text


class Sentiment(Recipe):
    """RoBERTa that tells sentiment."""

    name = "sentiment"
    plan = Plan(steps=1000, batch=64, rate=0.01, vocabulary=2200)
    auto = AutoModelForSequenceClassification

    def draw(self, rng: random.Random) -> Example:
        """A sentence with its label; or an entry of the lexicon, a word by itself."""
        shape = rng.choices(SHAPES, WEIGHTS)[0]
        if shape == "entry":
            label = rng.choice(LABELS)
            return rng.choice([*ADJECTIVES[label][0], *ADJECTIVES[label][1] * 3]), label
        if shape == "fact":
            text, label = SEEN.write(rng, "fact", "neutral") if rng.random() < 0.4 else (plain_sentence(rng), "neutral")
        else:
            text, label = SEEN.write(rng, shape, rng.choice(POLAR))
        if rng.random() < 0.2:
            more = plain_sentence(rng) if rng.random() < 0.5 else SEEN.write(rng, "fact", "neutral")[0]
            text = f"{text} {more}" if rng.random() < 0.5 else f"{more} {text}"
        return framed(rng, text), label

    def held_out(self) -> list[Item]:
        """New templates with new things; words known from the lexicon alone; unknown words; free sentences."""
        rng = random.Random(3)
        templates = DATA["unseen_templates"]
        seen = Writer(templates, UNSEEN_THINGS, {label: words for label, (words, _) in ADJECTIVES.items()})
        entries = Writer(templates, UNSEEN_THINGS, {label: words for label, (_, words) in ADJECTIVES.items()})
        unknown = Writer(templates, UNSEEN_THINGS, {label: phrases(text) for label, text in DATA["unknown"].items()})
        wanted = (
            ("plain", seen, ("adjective", "verb"), 40), ("negated", seen, ("negated", "verb_negated"), 40),
            ("word known by its entry alone", entries, ("adjective",), 20),
            ("such a word negated", entries, ("negated",), 20),
            ("word never seen", unknown, ("adjective", "negated"), 20),
        )  # fmt: skip
        items: list[Item] = []
        for part, writer, shapes, count in wanted:
            items += [[part, *writer.write(rng, rng.choice(shapes), POLAR[at % 2])] for at in range(count)]
        items += [["neutral", *seen.write(rng, "fact", "neutral")] for _ in range(20)]
        items += [["written freely", text, label] for label in LABELS for text in DATA["free"][label]]
        return items

    def new_tokenizer(self) -> PreTrainedTokenizerFast:
        """Byte pairs of the sentences."""
        rng = random.Random(self.plan.seed)
        return byte_pairs([self.draw(rng)[0] for _ in range(20_000)], self.plan.vocabulary, CONTEXT)

    def new_network(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """A small RoBERTa."""
        config = RobertaConfig(
            vocab_size=len(tokenizer), hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=288, max_position_embeddings=CONTEXT + tokenizer.pad_token_id + 1, type_vocab_size=1,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, id2label=dict(enumerate(LABELS)),
            label2id={label: at for at, label in enumerate(LABELS)},
        )  # fmt: skip
        return RobertaForSequenceClassification(config)

    def loss(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]
    ) -> torch.Tensor:
        """Cross entropy of the labels."""
        labels = torch.tensor([LABELS.index(label) for _, label in examples])
        return network(**tensors(tokenizer, [text for text, _ in examples]), labels=labels).loss

    def measure(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> list[Row]:
        """Accuracy by part."""
        given = logits(network, tokenizer, [text for _, text, _ in items]).argmax(-1).tolist()
        return shares(
            "accuracy", [(part, LABELS[at] == label) for (part, _, label), at in zip(items, given, strict=True)]
        )
