"""Recipe of embedding: questions are embedded near the answers of their topic. In sentence-transformers' layout."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import normalize
from transformers import AutoModel, DistilBertConfig, DistilBertModel, PreTrainedModel, PreTrainedTokenizerFast

from models.recipes.text.contrast import contrastive_loss, mean_of_tokens
from models.recipes.text.questions import (
    Pair,
    Question,
    corpus,
    documents,
    draw_question,
    pairs_of_topics,
    unseen_questions,
)
from models.recipes.text.recipe import Item, Plan, Recipe, Row, shares
from models.recipes.text.tokenizer import word_pieces

CONTEXT = 128
WIDTHS = (128, 64, 32)
"""Matryoshka widths: so many leading dimensions also work as a shorter vector."""
PROMPTS = {"query": "query: ", "document": "document: "}


class Embedding(Recipe):
    """DistilBERT with mean pooling."""

    name = "embedding"
    plan = Plan(steps=450, batch=64, rate=0.01, vocabulary=2400)
    auto = AutoModel

    def draw(self, rng: random.Random) -> Question:
        """A question and the place of its topic."""
        return draw_question(rng)

    def batch(self, rng: random.Random, step: int) -> list[Pair]:  # noqa: ARG002
        """Questions with passages; half of both without their prompt."""
        prompts = [
            [PROMPTS[name] if rng.random() < 0.5 else "" for name in ("query", "document")]
            for _ in range(self.plan.batch)
        ]
        pairs = pairs_of_topics(rng, self.plan.batch)
        return [(one + query, other + text) for (one, other), (query, text) in zip(prompts, pairs, strict=True)]

    def held_out(self) -> list[Item]:
        """All documents, and questions for them that training never shows."""
        return [*documents(), *unseen_questions(random.Random(3), 80)]

    def new_tokenizer(self) -> PreTrainedTokenizerFast:
        """Word pieces of questions and answers."""
        rng = random.Random(self.plan.seed)
        texts = [*corpus(rng, 6000), *list(PROMPTS.values()) * 100]
        return word_pieces(texts, self.plan.vocabulary, CONTEXT, tells_parts=False)

    def new_network(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """A small DistilBERT."""
        config = DistilBertConfig(
            vocab_size=len(tokenizer), dim=WIDTHS[0], n_layers=2, n_heads=4, hidden_dim=384,
            max_position_embeddings=CONTEXT, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        return DistilBertModel(config)

    def loss(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Pair]
    ) -> torch.Tensor:
        """The loss of every width of the vectors."""
        return contrastive_loss(network, tokenizer, examples, WIDTHS)

    def measure(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> list[Row]:
        """How often the right document is the nearest of all: by whole vectors, short ones, and without prompts."""
        names = [name for part, name, _ in items if part == "document"]
        texts = [text for part, _, text in items if part == "document"]
        queries = [item for item in items if item[0] != "document"]
        rows: list[Row] = []
        for measure, width, prompts in (
            ("recall@1", WIDTHS[0], PROMPTS), ("recall@1, 32 dimensions", WIDTHS[-1], PROMPTS),
            ("recall@1, no prompts", WIDTHS[0], {"query": "", "document": ""}),
        ):  # fmt: skip
            stored, asked = (
                normalize(mean_of_tokens(network, tokenizer, [prompts[name] + t for t in found])[:, :width], dim=-1)
                for name, found in (("document", texts), ("query", [text for _, text, _ in queries]))
            )
            nearest = (asked @ stored.T).argmax(-1).tolist()
            rows += shares(
                measure, [(part, names[at] == name) for (part, _, name), at in zip(queries, nearest, strict=True)]
            )
        return rows

    def further_files(self) -> dict[str, Any]:
        """The files by which sentence-transformers knows pooling, normalization and prompts."""
        modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
        return {
            "modules.json": [
                {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{name}"}
                for at, (name, path) in enumerate(modules)
            ],
            "sentence_bert_config.json": {"max_seq_length": CONTEXT, "do_lower_case": False},
            "config_sentence_transformers.json": {
                "prompts": PROMPTS, "default_prompt_name": None, "similarity_fn_name": "cosine",
            },
            "1_Pooling/config.json": {
                "word_embedding_dimension": WIDTHS[0], "pooling_mode_cls_token": False,
                "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False, "include_prompt": True,
            },
        }  # fmt: skip
