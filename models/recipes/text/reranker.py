"""Recipe of reranker: a cross-encoder that scores how well a document answers a question."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from models.recipes.text.classes import logits, tensors
from models.recipes.text.contrast import contrastive_loss
from models.recipes.text.questions import (
    TOPICS,
    Pair,
    Question,
    corpus,
    documents,
    draw_question,
    pairs_of_topics,
    passage,
    thinned,
    unseen_questions,
)
from models.recipes.text.recipe import Item, Plan, Recipe, Row, shares
from models.recipes.text.tokenizer import word_pieces

CONTEXT = 192
CANDIDATES = 5
"""Passages beside each training question, the right one included."""
WARM_STEPS, WARM_BATCH = 250, 32
"""Steps and batch size of contrastive training first: from random weights, a cross-encoder would not learn at all."""
MEASURED_CANDIDATES = 10
Example = tuple[str, list[str]]


class Reranker(Recipe):
    """BERT with one score."""

    name = "reranker"
    plan = Plan(steps=1250, batch=8, rate=0.01, vocabulary=2400)
    auto = AutoModelForSequenceClassification

    def draw(self, rng: random.Random) -> Question:
        """A question and the place of its topic."""
        return draw_question(rng)

    def batch(self, rng: random.Random, step: int) -> list[Pair] | list[Example]:
        """At first questions with one passage each; then with several, the right one first."""
        if step < WARM_STEPS:
            return pairs_of_topics(rng, WARM_BATCH)
        found: list[Example] = []
        for _ in range(self.plan.batch):
            text, at = self.draw(rng)
            wrong = rng.sample([other for other in range(len(TOPICS)) if other != at], CANDIDATES - 1)
            found.append((thinned(rng, text), [passage(rng, place, 0.15) for place in (at, *wrong)]))
        return found

    def held_out(self) -> list[Item]:
        """All documents, and new questions, each with the names of ten documents, the right one first."""
        rng = random.Random(5)
        names = [topic.names[0] for topic in TOPICS]
        items = documents()
        for part, text, name in unseen_questions(rng, 60):
            wrong = rng.sample([other for other in names if other != name], MEASURED_CANDIDATES - 1)
            items.append([part, text, [name, *wrong]])
        return items

    def new_tokenizer(self) -> PreTrainedTokenizerFast:
        """Word pieces of questions and answers."""
        return word_pieces(corpus(random.Random(self.plan.seed), 6000), self.plan.vocabulary, CONTEXT)

    def new_network(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """A small BERT with one label."""
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=256, max_position_embeddings=CONTEXT, pad_token_id=tokenizer.pad_token_id,
            num_labels=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        return BertForSequenceClassification(config)

    def loss(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Any]
    ) -> torch.Tensor:
        """At first that of an embedding. Then the right passage must score best of its list, and above zero."""
        if isinstance(examples[0][1], str):
            return contrastive_loss(network.base_model, tokenizer, examples, [network.config.hidden_size])
        pairs = [(query, text) for query, texts in examples for text in texts]
        scores = network(**tensors(tokenizer, pairs)).logits.view(len(examples), CANDIDATES)
        wanted = torch.zeros_like(scores)
        wanted[:, 0] = 1.0
        best = cross_entropy(scores, torch.zeros(len(examples), dtype=torch.long))
        return best + binary_cross_entropy_with_logits(scores, wanted)

    def measure(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> list[Row]:
        """How often the right document comes first of ten, and the mean of one over its rank."""
        texts = {name: text for part, name, text in items if part == "document"}
        first, inverse = [], []
        for part, query, names in items:
            if part == "document":
                continue
            scores = logits(network, tokenizer, [(query, texts[name]) for name in names])[:, 0]
            rank = 1 + int((scores[1:] >= scores[0]).sum())
            first.append((part, rank == 1))
            inverse.append((part, 1 / rank))
        return [*shares("accuracy@1 of ten", first), *shares("mean reciprocal rank", inverse)]
