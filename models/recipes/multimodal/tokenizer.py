"""The tokenizer of conversations about pictures: byte pairs, so that any text is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.recipes.multimodal.conversations import converse

START, PAD, SYSTEM, USER, ASSISTANT, END, IMAGE = (
    "<|start|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<image>",
)  # fmt: skip
SPECIAL = [PAD, START, END, SYSTEM, USER, ASSISTANT, IMAGE]
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
CONTEXT = 512
READ = 4000
"""Conversations the pairs are learnt from."""


def said(seed: int) -> list[str]:
    """What is said in some conversations."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(READ):
        for message in converse(rng).messages:
            parts = message["content"]
            found += [parts] if isinstance(parts, str) else [part["text"] for part in parts if part["type"] == "text"]
    return found


def train_tokenizer(seed: int, vocabulary: int) -> PreTrainedTokenizerFast:
    """Learns the pairs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(said(seed), trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=10, show_progress=False,
    ))  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=PAD, padding_side="left",
        extra_special_tokens={
            "system_token": SYSTEM, "user_token": USER, "assistant_token": ASSISTANT, "image_token": IMAGE,
        },
        model_max_length=CONTEXT, chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
