"""Copies the needed parts of a model's output to the CPU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.batching.job import Item
from services.engine.encoders.runner import TextBatch


def apart(pieces: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Returns each piece `[n, width]` in float32, each in its own memory. All have the same width."""
    together = torch.cat(list(pieces)).float().cpu().numpy()  # one copy from the device for all pieces
    ends = np.cumsum([len(piece) for piece in pieces])
    return [part.copy() for part in np.split(together, ends[:-1])]


def read_logits(output: Any, _batch: TextBatch, _items: Sequence[Item]) -> Sequence[NDArray[np.float32]]:
    """Returns the logits `[labels]` of each text; a Read for TextRunner."""
    return [row.copy() for row in output.logits.float().cpu().numpy()]
