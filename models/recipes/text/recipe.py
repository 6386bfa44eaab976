"""The interface of text recipes: data, network, loss and measure."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

Item = list[Any]
"""One held-out item, as it is written to a line of JSON: the part it belongs to, then what the recipe needs."""


@dataclass(frozen=True)
class Plan:
    """Size and pace of a training."""

    steps: int
    batch: int
    rate: float
    vocabulary: int
    seed: int = 11


@dataclass(frozen=True)
class Row:
    """One line of a card's table: a figure between 0 and 1, over so many items of one held-out part."""

    part: str
    measure: str
    items: int
    value: float


class Recipe(ABC):
    """One model: what it learns from, how, and how it is measured."""

    name: ClassVar[str]
    plan: ClassVar[Plan]
    auto: ClassVar[Any]
    """The Auto class that loads the model."""

    @abstractmethod
    def draw(self, rng: random.Random) -> Any:
        """One training example."""

    @abstractmethod
    def held_out(self) -> list[Item]:
        """The items the model is measured on; training never draws them."""

    @abstractmethod
    def new_tokenizer(self) -> PreTrainedTokenizerFast:
        """A tokenizer learnt from the training data."""

    @abstractmethod
    def new_network(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """The network with random weights."""

    @abstractmethod
    def loss(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Any]
    ) -> torch.Tensor:
        """The loss on a batch of training examples."""

    @abstractmethod
    def measure(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> list[Row]:
        """The figures of the card."""

    def batch(self, rng: random.Random, step: int) -> list[Any]:  # noqa: ARG002
        """The training examples of a step, counted from 0."""
        return [self.draw(rng) for _ in range(self.plan.batch)]

    def further_files(self) -> dict[str, Any]:
        """Files of JSON beside the weights, by path, for models that need some."""
        return {}


def share(part: str, measure: str, marks: Sequence[float]) -> Row:
    """A row with the mean of some marks."""
    return Row(part, measure, len(marks), sum(marks) / len(marks))


def shares(measure: str, marks: Sequence[tuple[str, float]]) -> list[Row]:
    """One row for every part, in order of appearance."""
    parts = dict.fromkeys(part for part, _ in marks)
    return [share(part, measure, [mark for named, mark in marks if named == part]) for part in parts]
