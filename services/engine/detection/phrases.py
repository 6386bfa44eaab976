"""Labels in words, for models that read all of them as one text: Grounding DINO and its kin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.encoders.reader import TextReader
from services.engine.language.texts import Truncation


@dataclass(frozen=True, eq=False)
class Phrases:
    """Labels as one text."""

    tensors: dict[str, Tensor]
    """`input_ids`, `attention_mask` and `token_type_ids`, `[tokens]` each."""
    places: list[list[int]]
    """Which tokens each label came to."""


def read_phrases(reader: TextReader, labels: Sequence[str]) -> Phrases:
    """Returns the labels as these models were trained to read them: in lower case, a full stop behind each.

    Raises:
        InvalidArgument: together they are longer than the model reads, or one comes to no token.
    """
    text, stretches = "", []
    for label in labels:
        written = label.strip().lower()  # which may be longer than the label: so is İ
        stretches.append((len(text), len(text) + len(written)))
        text += f"{written}. "
    tokens = reader.read(text.rstrip(), Truncation.NONE, field="labels")
    offsets = [] if tokens.offsets is None else tokens.offsets
    places = [
        [place for place, (low, high) in enumerate(offsets) if start <= low < high <= end] for start, end in stretches
    ]
    if silent := [i for i, found in enumerate(places) if not found]:
        raise InvalidArgument(Violation(f"labels[{i}]", "comes to nothing the model can read") for i in silent)
    ids = torch.tensor(tokens.ids)
    types = torch.zeros_like(ids)
    return Phrases({"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}, places)


def compute_phrases(model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `scores` `[images, boxes, tokens]` in [0, 1] and `boxes` as the model has them."""
    output = model(**batch)
    return {"scores": output.logits.float().sigmoid(), "boxes": output.pred_boxes}


def label_scores(token_scores: Tensor, places: Sequence[Sequence[int]]) -> Tensor:
    """Returns `[boxes, labels]`: of each label's tokens `[boxes, tokens]` the score of the one that fits best."""
    return torch.stack([token_scores[:, list(tokens)].amax(1) for tokens in places], dim=1)
