"""Zero-shot detection with models that read all labels as one text: Grounding DINO and MM Grounding DINO."""

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
    """The labels of a request as one tokenized text."""

    tensors: dict[str, Tensor]
    """`input_ids`, `attention_mask` and `token_type_ids`, `[tokens]` each."""
    places: list[list[int]]
    """The indices of each label's tokens."""


def read_phrases(reader: TextReader, labels: Sequence[str]) -> Phrases:
    """Returns the labels in the format that these models were trained on: lower case, each followed by a full stop.

    Raises:
        InvalidArgument: the text is longer than the model's context, or a label has no tokens.
    """
    text, stretches = "", []
    for label in labels:
        written = label.strip().lower()  # lower case may be longer: "İ" becomes two code points
        stretches.append((len(text), len(text) + len(written)))
        text += f"{written}. "
    tokens = reader.read(text.rstrip(), Truncation.NONE, field="labels")
    offsets = [] if tokens.offsets is None else tokens.offsets
    places = [
        [place for place, (low, high) in enumerate(offsets) if start <= low < high <= end] for start, end in stretches
    ]
    if silent := [i for i, found in enumerate(places) if not found]:
        raise InvalidArgument(Violation(f"labels[{i}]", "has no text that the model can read") for i in silent)
    ids = torch.tensor(tokens.ids)
    types = torch.zeros_like(ids)
    return Phrases({"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}, places)


def compute_phrases(model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `fits`, logits `[images, boxes, tokens]`, and the model's `boxes`, `[images, boxes, 4]`."""
    output = model(**batch)
    tokens = batch["input_ids"].shape[1]  # behind them is minus infinity, up to the longest text of the model
    return {"fits": output.logits[..., :tokens], "boxes": output.pred_boxes}


def label_scores(token_scores: Tensor, places: Sequence[Sequence[int]]) -> Tensor:
    """Returns scores `[boxes, labels]` from `[boxes, tokens]`: the highest score among each label's tokens."""
    return torch.stack([token_scores[:, list(tokens)].amax(1) for tokens in places], dim=1)
