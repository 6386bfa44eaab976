"""Texts, or pairs of texts, to tensors and to the scores of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

Text = str | tuple[str, str]


def tensors(tokenizer: PreTrainedTokenizerFast, texts: Sequence[Text]) -> Any:
    """The texts as padded tensors."""
    return tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")


@torch.inference_mode()
def logits(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[Text], batch: int = 64
) -> torch.Tensor:
    """The scores of every text: texts by labels."""
    return torch.cat([
        network(**tensors(tokenizer, texts[at : at + batch])).logits for at in range(0, len(texts), batch)
    ])  # fmt: skip
