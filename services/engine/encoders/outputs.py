"""Copies the needed parts of a model's output to the CPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from services.engine.batching.job import Item
from services.engine.batching.numbers import are_numbers
from services.engine.encoders.heads import Floats
from services.engine.encoders.runner import TextBatch


def apart(pieces: Sequence[Tensor], over: int) -> list[Floats | None]:
    """Returns each piece `[n, width]` in float32, each in its own memory. All have the same width.

    None for a piece that is not made of numbers; `over` is as in are_numbers.
    """
    together = torch.cat(list(pieces)).float().cpu()  # one copy from the device for all pieces
    return _rows(together, together.split([len(piece) for piece in pieces]), over)


def read_logits(output: Any, _batch: TextBatch, _items: Sequence[Item]) -> Sequence[Floats | None]:
    """Returns the logits `[labels]` of each text, None if they are NaN; a Read for TextRunner."""
    logits = output.logits.float().cpu()
    return _rows(logits, logits.unbind(), -1)


def vectors_of(vectors: Sequence[Tensor]) -> list[Floats | None]:
    """Returns the vectors of each text, `[n, width]` in float32, None if they are NaN, each in its own memory."""
    if len({made.shape for made in vectors}) == 1:
        together = torch.stack(list(vectors)).cpu()  # one copy from the device for all
        return _rows(together, together.unbind(), None)
    return [_rows(made, [made], None)[0] for made in (made.cpu() for made in vectors)]


def _rows(together: Tensor, rows: Sequence[Tensor], over: int | None) -> list[Floats | None]:
    fine = are_numbers(together)
    return [row.clone().numpy() if fine or are_numbers(row, over) else None for row in rows]
