"""Recipe of image-chat: a small LLaVA for pictures of figures and digits, whose vision tower is trained first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPImageProcessorPil,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from models.recipes.chat.training import Row, labelled, padded
from models.recipes.multimodal.board import SIDE, Picture
from models.recipes.multimodal.chat_exam import draw, measure
from models.recipes.multimodal.conversations import converse
from models.recipes.multimodal.tokenizer import ASSISTANT, CONTEXT, IMAGE, train_tokenizer
from models.recipes.multimodal.tower import PATCH, PATCHES, seen, taught_tower, tower_config
from models.recipes.vision.digit_images import SOURCE
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.training import Plan, fit, seeded

WIDTH = 128
VOCABULARY = 640
TOWER_PLAN = Plan(steps=1200, batch=64, rate=0.01, muon=True)
PLAN = Plan(steps=1500, batch=32, rate=0.02, muon=True, of="conversations")
TOGETHER = 8
"""Batches that are drawn at once and sorted by length."""


def new_network(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """An untrained LLaVA: every patch of the tower's last layer is a token of a small Llama."""
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=320, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=CONTEXT,
        tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    network = LlavaForConditionalGeneration(LlavaConfig(
        vision_config=tower_config(), text_config=text, image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1, vision_feature_select_strategy="default", tie_word_embeddings=True,
        image_seq_length=PATCHES,
    ))  # fmt: skip
    network.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=96, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return network


def new_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Pictures of any shape are brought to the tower's square; each is as many tokens as the tower has patches."""
    square = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessorPil(size=square, crop_size=square, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return LlavaProcessor(
        images, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip


class Batches:
    """Batches of conversations of similar length, with little padding."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, size: int) -> None:
        self._tokenizer, self._size = tokenizer, size
        self._waiting: list[list[tuple[Row, list[Picture]]]] = []

    def next(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """A batch of the network's inputs, with labels for the assistant's tokens only."""
        if not self._waiting:
            self._waiting = self._drawn(rng)
        batch = self._waiting.pop()
        pictures = [picture for _, shown in batch for picture in shown]
        pixels = {"pixel_values": seen(pictures, rng)} if pictures else {}
        return {**padded([row for row, _ in batch], self._tokenizer.pad_token_id), **pixels}

    def _drawn(self, rng: np.random.Generator) -> list[list[tuple[Row, list[Picture]]]]:
        drawn = [converse(rng) for _ in range(self._size * TOGETHER)]
        rendered = [self._tokenizer.apply_chat_template(c.messages, tokenize=False) for c in drawn]
        encoded = self._tokenizer(
            [text.replace(IMAGE, IMAGE * PATCHES) for text in rendered], add_special_tokens=False
        )["input_ids"]  # fmt: skip
        starts, ends = self._tokenizer.convert_tokens_to_ids(ASSISTANT), self._tokenizer.eos_token_id
        rows = [(labelled(ids, starts, ends), c.pictures) for ids, c in zip(encoded, drawn, strict=True)]
        rows.sort(key=lambda row: len(row[0]["input_ids"]))
        batches = [rows[at : at + self._size] for at in range(0, len(rows), self._size)]
        rng.shuffle(batches)
        return batches


def train(_: Path) -> Trained:
    """Trains the vision tower, then freezes it and trains projector and language model.

    The tower is frozen because Muon's steps have a fixed size: while the language model ignores the picture, they would
    only destroy what the tower has learnt.
    """
    seeded(PLAN.seed)
    tokenizer = train_tokenizer(PLAN.seed, VOCABULARY)
    network = new_network(tokenizer)
    tower, minutes = taught_tower(TOWER_PLAN)
    network.model.vision_tower.load_state_dict(tower.state_dict())
    network.model.vision_tower.requires_grad_(False)
    batches = Batches(tokenizer, PLAN.batch)

    def loss_at(rng: np.random.Generator) -> Tensor:
        return network(**batches.next(rng)).loss

    minutes += fit(network, PLAN, loss_at)
    told = f"the tower alone, {TOWER_PLAN.told}; then the rest, {PLAN.told}"
    return Trained(network, (new_processor(tokenizer),), minutes, told)


class ChatRecipe(Recipe):
    """A recipe whose model has a processor of texts and images."""

    def load(self, folder: Path) -> Served:
        """The model of a folder, loaded the way a service loads it."""
        network = self.auto.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        processor = AutoProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        return Served(network, processor, processor.tokenizer)


RECIPE = ChatRecipe(
    folder="image-chat", auto=AutoModelForImageTextToText, train=train, draw=draw, measure=measure,
    measured=400, shipped=24, package="multimodal",
    told={"digits": SOURCE},
)  # fmt: skip
