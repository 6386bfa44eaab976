"""Contrastive loss: trains a question and its passage to have similar vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy, normalize
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from models.recipes.text.classes import tensors

TEMPERATURE = 0.05


def mean_of_tokens(network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> torch.Tensor:
    """One vector per text: the mean over its tokens."""
    inputs = tensors(tokenizer, texts)
    hidden, mask = network(**inputs).last_hidden_state, inputs["attention_mask"].unsqueeze(-1)
    return (hidden * mask).sum(1) / mask.sum(1)


def contrastive_loss(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[tuple[str, str]],
    widths: Sequence[int],
) -> torch.Tensor:  # fmt: skip
    """Each question must find its passage among all, and each passage its question, by the first so many dimensions."""
    questions = mean_of_tokens(network, tokenizer, [question for question, _ in pairs])
    passages = mean_of_tokens(network, tokenizer, [passage for _, passage in pairs])
    own, total = torch.arange(len(pairs)), torch.zeros(())
    for width in widths:
        scores = normalize(questions[:, :width], dim=-1) @ normalize(passages[:, :width], dim=-1).T / TEMPERATURE
        total = total + cross_entropy(scores, own) + cross_entropy(scores.T, own)
    return total / (2 * len(widths))
