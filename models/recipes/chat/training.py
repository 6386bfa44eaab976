"""The network and its training: loss on assistant tokens only, cosine schedule, fixed seed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace

import torch
from torch.utils.data import Dataset
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    get_cosine_schedule_with_warmup,
    set_seed,
)

from models.recipes.chat.corpus import Corpus, Message
from models.recipes.chat.optimizer import new_optimizer
from models.recipes.chat.tokenizer import ASSISTANT, CONTEXT

IGNORED = -100
LONGEST = 480
CHUNK = 4000


@dataclass(frozen=True)
class Plan:
    """How long, at which rate, from which seed and with how many memories to train."""

    steps: int = 4000
    batch_tokens: int = 1024
    peak_rate: float = 0.02
    seed: int = 20
    threads: int = 1
    memory_share: float = 0.19
    """Share of conversations in which something told is asked for later."""

    @property
    def settling(self) -> Plan:
        """The second stage: short, at a low rate, rich in memories, because names are told apart last."""
        return replace(
            self, steps=self.steps // 25, peak_rate=self.peak_rate * 0.15, seed=self.seed + 1, memory_share=0.4
        )


Row = dict[str, list[int]]


def labelled(ids: list[int], starts: int, ends: int) -> Row:
    """The tokens, with labels for the assistant's tokens only."""
    labels, speaks = [], False
    for token in ids:
        labels.append(token if speaks else IGNORED)
        speaks = token == starts or (speaks and token != ends)
    return {"input_ids": ids, "labels": labels}


def tokenized(conversations: list[list[Message]], tokenizer: PreTrainedTokenizerFast) -> list[Row]:
    """Conversations as rows of tokens and labels, without those that are too long."""
    rendered = [tokenizer.apply_chat_template(c, tokenize=False) for c in conversations]
    encoded = tokenizer(rendered, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    starts = tokenizer.convert_tokens_to_ids(ASSISTANT)
    return [labelled(ids, starts, tokenizer.eos_token_id) for ids in encoded if len(ids) <= LONGEST]


def padded(rows: list[Row], pad: int) -> dict[str, torch.Tensor]:
    """Rows as one batch, each as long as the longest. Padding comes last, where causal attention never looks."""
    longest = max(len(row["input_ids"]) for row in rows)

    def fill(key: str, value: int) -> torch.Tensor:
        return torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in rows])

    return {"input_ids": fill("input_ids", pad), "labels": fill("labels", IGNORED)}


class ChatDataset(Dataset[dict[str, torch.Tensor]]):
    """Precomputed batches of similar token counts: rows of similar length share a batch; random order of batches."""

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, plan: Plan) -> None:
        self._pad = tokenizer.pad_token_id
        self._batches: list[list[Row]] = []
        while len(self._batches) < plan.steps:
            rows = tokenized(list(corpus.conversations(CHUNK)), tokenizer)
            self._batches += self._cut(sorted(rows, key=lambda row: len(row["input_ids"])), plan.batch_tokens)
        random.Random(plan.seed).shuffle(self._batches)
        del self._batches[plan.steps :]
        self.conversations = sum(len(batch) for batch in self._batches)
        self.tokens = sum(len(row["input_ids"]) for batch in self._batches for row in batch)

    def _cut(self, rows: list[Row], budget: int) -> list[list[Row]]:
        batches: list[list[Row]] = [[]]
        for row in rows:
            if len(row["input_ids"]) * (len(batches[-1]) + 1) > budget:
                batches.append([])
            batches[-1].append(row)
        return batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return padded(self._batches[index], self._pad)


def new_network(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """An untrained network: four layers, six heads that share two keys and values, tied embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4,
        num_attention_heads=6, num_key_value_heads=2, head_dim=32, max_position_embeddings=CONTEXT,
        tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    set_seed(seed)
    network = LlamaForCausalLM(config)
    network.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=256, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return network


def arguments(plan: Plan, folder: str) -> TrainingArguments:
    """The settings of the trainer."""
    return TrainingArguments(
        output_dir=folder, max_steps=plan.steps, per_device_train_batch_size=1, max_grad_norm=1.0, bf16=True,
        use_cpu=True, seed=plan.seed, data_seed=plan.seed, logging_steps=50,
        save_strategy="no", report_to="none", dataloader_num_workers=0, remove_unused_columns=False,
    )  # fmt: skip


def train(network: LlamaForCausalLM, plan: Plan, data: ChatDataset, folder: str) -> float:
    """Trains the network by one plan, leaves it in bfloat16, and returns the minutes it took."""
    torch.set_num_threads(plan.threads)
    network.float().train()
    optimizer = new_optimizer(network, plan.peak_rate)
    schedule = get_cosine_schedule_with_warmup(optimizer, plan.steps // 30, plan.steps)
    trainer = Trainer(
        model=network, args=arguments(plan, folder), train_dataset=data, data_collator=lambda batches: batches[0],
        optimizers=(optimizer, schedule),
    )  # fmt: skip
    began = time.monotonic()
    trainer.train()
    network.to(torch.bfloat16).eval()
    return (time.monotonic() - began) / 60
