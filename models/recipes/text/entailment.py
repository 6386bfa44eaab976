"""Recipe of entailment: natural language inference over the recipes' topics, for zero-shot classification."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from models.recipes.text.classes import logits, tensors
from models.recipes.text.contrast import contrastive_loss
from models.recipes.text.disguise import disguised
from models.recipes.text.recipe import Item, Plan, Recipe, Row, shares
from models.recipes.text.statements import statement_pair
from models.recipes.text.tokenizer import byte_pairs
from models.recipes.text.words import fill, phrases, read_data, split

DATA = read_data("entailment")
LABELS = ["contradiction", "neutral", "entailment"]
CONTEXT = 512
WARM_STEPS = 400
"""Steps of contrastive training first: training on pairs only works once texts and labels have similar vectors."""
HYPOTHESIS = "This example is {}."
TOPICS = {topic["labels"][0]: topic for topic in DATA["topic"]}
NAMES = {name: topic["labels"] for name, topic in TOPICS.items()}
Example = tuple[str, str, str]

WORDS = {name: split(phrases(topic["words"]), 6) for name, topic in TOPICS.items()}
ACTS = {name: split(phrases(topic["acts"]), 6) for name, topic in TOPICS.items()}


def write(rng: random.Random, frames: dict[str, list[str]], words: list[str], acts: list[str]) -> str:
    """A sentence of a topic, around one of its words or acts."""
    shape = "act" if acts and rng.random() < 0.45 else "word"
    people, times = phrases(DATA["frames"]["people"]), phrases(DATA["frames"]["times"])
    return fill(rng, rng.choice(frames[shape]), {"w": words, "x": acts or [""], "p": people, "t": times})


def about(rng: random.Random, topic: str) -> str:
    """A training sentence about the topic; or one of its words or acts by itself, also such as no sentence holds."""
    if rng.random() < 0.15:
        return rng.choice([*WORDS[topic][0], *ACTS[topic][0], *(WORDS[topic][1] + ACTS[topic][1]) * 3])
    frames = {
        shape: [disguised(rng, rng.choice(DATA["frames"][shape]), invented_only=True)] for shape in ("word", "act")
    }
    return write(rng, frames, WORDS[topic][0], ACTS[topic][0])


def hypothesis(rng: random.Random, topic: str) -> str:
    """A sentence that names the topic, by its label or by its other name."""
    label = rng.choice(NAMES[topic]) if rng.random() < 0.5 else topic
    return rng.choice(DATA["frames"]["hypotheses"]).format(label)


def topic_pair(rng: random.Random) -> Example:
    """A text about one topic or two, a hypothesis that names a topic, and whether it is true."""
    chosen = rng.sample(list(TOPICS), 1 if rng.random() < 0.6 else 2)
    text = " ".join(about(rng, topic) for topic in chosen)
    truth = rng.random() < 0.5
    named = rng.choice(chosen) if truth else rng.choice([topic for topic in TOPICS if topic not in chosen])
    return text, hypothesis(rng, named), "entailment" if truth else "contradiction"


def zero_shot(scores: torch.Tensor, multi_label: bool) -> torch.Tensor:
    """Probabilities of labels from their scores (labels by classes), as zero-shot classification has them."""
    if not multi_label:
        return scores[:, LABELS.index("entailment")].softmax(-1)
    pair = [LABELS.index("contradiction"), LABELS.index("entailment")]
    return scores[:, pair].softmax(-1)[:, 1]


class Entailment(Recipe):
    """ModernBERT for pairs of texts."""

    name = "entailment"
    plan = Plan(steps=1600, batch=48, rate=0.01, vocabulary=2600)
    auto = AutoModelForSequenceClassification

    def draw(self, rng: random.Random) -> Example:
        """A pair of texts with its label."""
        return topic_pair(rng) if rng.random() < 0.65 else statement_pair(rng, DATA["facts"], held_out=False)

    def batch(self, rng: random.Random, step: int) -> list[Any]:
        """At first a text about every topic with what names it; then pairs with their labels."""
        if step < WARM_STEPS:
            return [(about(rng, topic), hypothesis(rng, topic)) for topic in TOPICS]
        return super().batch(rng, step)

    def held_out(self) -> list[Item]:
        """Sentences of one topic and of two, in unseen frames; free sentences; pairs of statements."""
        rng, frames = random.Random(3), DATA["unseen_frames"]
        items: list[Item] = []
        for at in range(60):
            topic = list(TOPICS)[at % len(TOPICS)]
            part, kind = ("new sentence", 0) if at < 40 else ("word known by its entry alone", 1)
            acts = ACTS[topic][kind] if kind == 0 else []
            items.append([part, write(rng, frames, WORDS[topic][kind], acts), [topic]])
        items += [["written freely", text, [name]] for name, topic in TOPICS.items() for text in topic["free"]]
        for _ in range(30):
            two = rng.sample(list(TOPICS), 2)
            text = " ".join(write(rng, frames, WORDS[topic][0], ACTS[topic][0]) for topic in two)
            items.append(["two topics", text, sorted(two)])
        items += [["statements", *statement_pair(rng, DATA["facts"], held_out=True)] for _ in range(60)]
        return items

    def new_tokenizer(self) -> PreTrainedTokenizerFast:
        """Byte pairs of the pairs."""
        rng = random.Random(self.plan.seed)
        texts = [text for _ in range(15_000) for text in self.draw(rng)[:2]]
        return byte_pairs(texts, self.plan.vocabulary, CONTEXT)

    def new_network(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """A small ModernBERT."""
        config = ModernBertConfig(
            vocab_size=len(tokenizer), hidden_size=96, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=192, max_position_embeddings=CONTEXT, global_attn_every_n_layers=2,
            local_attention=64, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id, classifier_pooling="mean", id2label=dict(enumerate(LABELS)),
            label2id={label: at for at, label in enumerate(LABELS)},
        )  # fmt: skip
        return ModernBertForSequenceClassification(config)

    def loss(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Any]
    ) -> torch.Tensor:
        """At first that of an embedding; then cross entropy of the labels."""
        if len(examples[0]) == 2:
            return contrastive_loss(network.base_model, tokenizer, examples, [network.config.hidden_size])
        labels = torch.tensor([LABELS.index(label) for _, _, label in examples])
        return network(**tensors(tokenizer, [pair for *pair, _ in examples]), labels=labels).loss

    def measure(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> list[Row]:
        """Zero-shot accuracy for one label and for several, and accuracy on pairs of statements."""
        single, multi, pairs = [], [], []
        for part, *rest in items:
            if part == "statements":
                text, hypothesis, label = rest
                given = logits(network, tokenizer, [(text, hypothesis)])[0].argmax().item()
                pairs.append((part, LABELS[given] == label))
                continue
            text, topics = rest
            scores = logits(network, tokenizer, [(text, HYPOTHESIS.format(name)) for name in TOPICS])
            if len(topics) == 1:
                single.append((part, list(TOPICS)[zero_shot(scores, False).argmax()] == topics[0]))
            chosen = {name for name, score in zip(TOPICS, zero_shot(scores, True), strict=True) if score > 0.5}
            multi.append((part, chosen == set(topics)))
        return [
            *shares("zero-shot, right label", single), *shares("zero-shot, all labels right", multi),
            *shares("accuracy of three", pairs),
        ]  # fmt: skip
