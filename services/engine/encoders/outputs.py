"""Takes what is wanted of a model's output from the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.batching.job import Item
from services.engine.encoders.runner import TextBatch


def apart(pieces: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Returns each piece `[n, width]`, of one width all, in float32 and in memory of its own."""
    together = torch.cat(list(pieces)).float().cpu().numpy()  # one way from the device for all
    ends = np.cumsum([len(piece) for piece in pieces])
    return [part.copy() for part in np.split(together, ends[:-1])]


def read_logits(output: Any, _batch: TextBatch, _items: Sequence[Item]) -> Sequence[NDArray[np.float32]]:
    """Returns the logits `[labels]` of each text; for TextRunner."""
    return [row.copy() for row in output.logits.float().cpu().numpy()]
