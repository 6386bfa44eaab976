"""Recipe of fill-mask: predicts masked words in plain facts and in texts of the chat model's topics."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM, PreTrainedModel, PreTrainedTokenizerFast

from models.recipes.text.classes import logits, tensors
from models.recipes.text.plain_facts import FACTS, KINDS
from models.recipes.text.questions import SENTENCES, TOPICS, draw_question
from models.recipes.text.recipe import Item, Plan, Recipe, Row, shares
from models.recipes.text.tokenizer import word_pieces

CONTEXT = 96
MASK = "[MASK]"
Example = tuple[str, list[str]]
"""A text with masks, and the words behind them in order."""


def masked(text: str, word: str) -> str:
    """The text with the last place of the word masked."""
    found = list(re.finditer(rf"\b{re.escape(word)}\b", text, re.IGNORECASE))[-1]
    return text[: found.start()] + MASK + text[found.end() :]


def hide_words(rng: random.Random, text: str) -> Example:
    """A sixth of all words masked, at least one."""
    words = list(re.finditer(r"\w+", text))
    chosen = sorted(rng.sample(range(len(words)), max(1, round(len(words) / 6))))
    hidden, at = "", 0
    for place in chosen:
        hidden, at = hidden + text[at : words[place].start()] + MASK, words[place].end()
    return hidden + text[at:], [words[place][0].lower() for place in chosen]


class FillMask(Recipe):
    """BERT with its head for masked words."""

    name = "fill-mask"
    plan = Plan(steps=1100, batch=64, rate=0.01, vocabulary=3000)
    auto = AutoModelForMaskedLM

    def draw(self, rng: random.Random) -> Example:
        """A fact with its answer masked or with other words masked, or a sentence of the topics."""
        if rng.random() < 0.8:
            text, word = FACTS[rng.choice(KINDS)](rng, False)
            return (masked(text, word), [word.lower()]) if rng.random() < 0.75 else hide_words(rng, text)
        if rng.random() < 0.5:
            return hide_words(rng, draw_question(rng)[0])
        return hide_words(rng, rng.choice(rng.choice(SENTENCES)))

    def held_out(self) -> list[Item]:
        """Facts in sentences that training never shows, and words of questions it never shows."""
        rng, items = random.Random(3), []
        for kind in KINDS:
            drawn: dict[str, str] = {}
            while len(drawn) < 20:
                text, word = FACTS[kind](rng, True)
                drawn[masked(text, word)] = word.lower()
            items += [[kind, text, word] for text, word in drawn.items()]
        for topic in rng.sample(TOPICS, 40):
            words = [word for word in re.findall(r"\w+", topic.questions[-1]) if len(word) > 2]
            word = rng.choice(words)
            items.append(["a word of an unseen question", masked(topic.questions[-1], word), word.lower()])
        return items

    def new_tokenizer(self) -> PreTrainedTokenizerFast:
        """Word pieces in which the words of facts stay whole."""
        rng = random.Random(self.plan.seed)
        facts = [FACTS[kind](rng, False)[0] for kind in KINDS for _ in range(2000)]
        asked = [draw_question(rng)[0] for _ in range(3000)]
        sentences = [sentence for topic in SENTENCES for sentence in topic] * 12
        return word_pieces([*facts, *asked, *sentences], self.plan.vocabulary, CONTEXT)

    def new_network(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """A small BERT."""
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=384, max_position_embeddings=CONTEXT, pad_token_id=tokenizer.pad_token_id,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        return BertForMaskedLM(config)

    def loss(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]
    ) -> torch.Tensor:
        """Cross entropy of the masked words that are one token."""
        inputs = tensors(tokenizer, [text for text, _ in examples])
        ids = tokenizer.convert_tokens_to_ids([word for _, words in examples for word in words])
        places = inputs["input_ids"] == tokenizer.mask_token_id
        wanted = torch.tensor(ids)
        wanted[wanted == tokenizer.unk_token_id] = -100
        return cross_entropy(network(**inputs).logits[places], wanted)

    def measure(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> list[Row]:
        """How often the word is the likeliest, and among the five likeliest."""
        texts = [text for _, text, _ in items]
        first, five = [], []
        for (part, _, word), text in zip(items, texts, strict=True):
            ids = tokenizer(text)["input_ids"]
            scores = logits(network, tokenizer, [text])[0][ids.index(tokenizer.mask_token_id)]
            likeliest = tokenizer.convert_ids_to_tokens(scores.topk(5).indices.tolist())
            first.append((part, likeliest[0] == word))
            five.append((part, word in likeliest))
        return [*shares("accuracy@1", first), *shares("accuracy@5", five)]
