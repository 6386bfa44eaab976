"""Recipe of extractive-qa: answers a question with a span of a passage, or finds that there is no answer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    ModernBertConfig,
    ModernBertForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from models.recipes.text.passages import NAMED_ANEW, SEEN, UNSEEN, Asked, free_questions
from models.recipes.text.recipe import Item, Plan, Recipe, Row, shares
from models.recipes.text.tokenizer import word_pieces

CONTEXT = 160
LONGEST_ANSWER = 15
"""Tokens of an answer at most."""


def words_f1(given: str, wanted: str) -> float:
    """F1 of the words of both."""
    one, other = Counter(given.lower().split()), Counter(wanted.lower().split())
    return 2 * sum((one & other).values()) / max(1, sum(one.values()) + sum(other.values()))


class ExtractiveQA(Recipe):
    """ModernBERT that marks start and end of the answer; both lie on the first token if there is none."""

    name = "extractive-qa"
    plan = Plan(steps=900, batch=32, rate=0.01, vocabulary=2400)
    auto = AutoModelForQuestionAnswering

    def draw(self, rng: random.Random) -> Asked:
        """A passage with a question."""
        return SEEN.write(rng)

    def held_out(self) -> list[Item]:
        """New names; new sentences and questions as well; two subjects. And questions written freely."""
        rng = random.Random(3)
        parts: list[tuple[str, Asked]] = []
        for part, writer, two, count in (
            ("new names", NAMED_ANEW, 0.0, 60), ("new names, sentences and questions", UNSEEN, 0.0, 60),
            ("two subjects", NAMED_ANEW, 1.0, 30),
        ):  # fmt: skip
            parts += [(part, writer.write(rng, at % 10 < 7, two)) for at in range(count)]
        parts += [("written freely", asked) for asked in free_questions()]
        return [
            [part if a.answer else f"{part}, no answer", a.question, a.passage, a.answer or ""] for part, a in parts
        ]

    def new_tokenizer(self) -> PreTrainedTokenizerFast:
        """Word pieces of passages and questions."""
        rng = random.Random(self.plan.seed)
        drawn = [self.draw(rng) for _ in range(8000)]
        return word_pieces(
            [f"{a.question} {a.passage}" for a in drawn], self.plan.vocabulary, CONTEXT, tells_parts=False
        )

    def new_network(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """A small ModernBERT."""
        config = ModernBertConfig(
            vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=192, max_position_embeddings=CONTEXT, global_attn_every_n_layers=2, local_attention=32,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id, cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id,
        )  # fmt: skip
        return ModernBertForQuestionAnswering(config)

    def loss(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Asked]
    ) -> torch.Tensor:
        """Cross entropy of the first and the last token of the answer."""
        inputs = tokenizer(
            [a.question for a in examples], [a.passage for a in examples], padding=True, truncation="only_second",
            return_tensors="pt",
        )  # fmt: skip
        bounds = []
        for at, asked in enumerate(examples):
            first = last = None
            if asked.answer is not None:
                first = inputs.char_to_token(at, asked.start, sequence_index=1)
                last = inputs.char_to_token(at, asked.start + len(asked.answer) - 1, sequence_index=1)
            bounds.append((0, 0) if first is None or last is None else (first, last))
        starts, ends = torch.tensor(bounds).unbind(1)
        return network(**inputs, start_positions=starts, end_positions=ends).loss

    def measure(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> list[Row]:
        """Exact matches and F1 of words, no answer being allowed everywhere."""
        exact, overlap = [], []
        for part, question, passage, wanted in items:
            given = answer(network, tokenizer, question, passage)
            exact.append((part, given.lower() == wanted.lower()))
            if wanted:
                overlap.append((part, words_f1(given, wanted)))
        return [*shares("exact match", exact), *shares("F1 of words", overlap)]


def answer(network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, question: str, passage: str) -> str:
    """The likeliest piece of the passage, or an empty text if no answer is likelier."""
    inputs = tokenizer(
        question, passage, truncation="only_second", return_tensors="pt", return_offsets_mapping=True
    )  # fmt: skip
    offsets = inputs.pop("offset_mapping")[0].tolist()
    inside = torch.tensor([part == 1 for part in inputs.sequence_ids(0)])
    output = network(**inputs)
    allowed = inside.clone()
    allowed[0] = True
    start, end = (
        scores[0].masked_fill(~allowed, -1e9).softmax(-1) for scores in (output.start_logits, output.end_logits)
    )
    pairs = torch.outer(start, end).triu().tril(LONGEST_ANSWER - 1)
    none = pairs[0, 0].item()
    pairs[0], pairs[:, 0] = 0.0, 0.0
    first, last = divmod(int(pairs.argmax()), len(end))
    return "" if none > pairs[first, last].item() else passage[offsets[first][0] : offsets[last][1]]
