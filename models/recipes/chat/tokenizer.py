"""The tokenizer: byte-level BPE learnt from the corpus, with digits and runs of capitals split into characters."""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.recipes.chat.corpus import all_skills
from models.recipes.chat.dates import DAYS, MONTHS
from models.recipes.chat.vocabulary import COLOURS, NAMES, OPPOSITES

START, PAD, SYSTEM, USER, ASSISTANT, END = (
    "<|start|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
)  # fmt: skip
SPECIAL = [PAD, START, END, SYSTEM, USER, ASSISTANT]
CHAT_TEMPLATE = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
CONTEXT = 512
EXCHANGES_READ = 700
WORD_REPEATS = 250
WHOLE_WORDS = (*NAMES, *COLOURS, *DAYS, *MONTHS, *OPPOSITES, *OPPOSITES.values())


def texts(seed: int) -> list[str]:
    """The texts that merges are learnt from: exchanges of all skills, and words that should be one token each."""
    rng, found = random.Random(seed), [f" {word}" for word in WHOLE_WORDS for _ in range(WORD_REPEATS)]
    for skill in all_skills():
        if skill.name != "honest ignorance":
            for _ in range(round(EXCHANGES_READ * skill.weight)):
                exchange = skill.train(rng)
                found += [exchange.user, exchange.assistant]
    return found


def train_tokenizer(seed: int, vocabulary: int) -> PreTrainedTokenizerFast:
    """Learns the pairs and returns a tokenizer that encodes any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"(?<=[A-Z])[A-Z]|[A-Z](?=[A-Z])"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3, show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts(seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=PAD, padding_side="left",
        extra_special_tokens=[SYSTEM, USER, ASSISTANT], model_max_length=CONTEXT, chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
