"""Tokens chosen where the logits are, of rows from which nothing but a token is wanted: nobody waits for them."""

from collections.abc import Sequence as Rows

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.generation.sampling.draws import uniform
from services.engine.generation.sampling.inversion import invert
from services.engine.generation.sampling.sampler import row_processors, scaled
from services.engine.generation.sampling.truncation import Limits, keep_of_head
from services.engine.generation.sequence import Sequence

NO_TOKEN = -1
"""Where logits are not numbers."""
UNDECIDED = -2
"""Where more tokens may be drawn than the device has looked at: the row is to be computed again, with its logits."""
NUMBERS = 5
"""Of a row: its temperature, its draw, and its limits."""
_NO_LOGITS = torch.empty(0)
"""Stands where processors are made for a row, of which there has been none yet, to see whether there will be any."""


def takes(sequence: Sequence) -> bool:
    """Returns whether a token is all that is wanted of the sequence's next logits, as they are."""
    request = sequence.request
    if sequence.processors is None and not request.structure and not row_processors(request, _NO_LOGITS):
        sequence.processors = ()  # before its first token
    return (
        sequence.processors == ()
        and not sequence.branches
        and not sequence.undecided
        and request.logprob_count is None
        and request.sampling.typical_p == 1
    )


def numbers_of(sequences: Rows[Sequence], further: Rows[int]) -> tuple[NDArray[np.float64], float] | None:
    """Returns what `choose` needs to know, `[NUMBERS, rows]`, and the largest top-k; None where all rows are greedy.

    Each row is so many tokens further than its sequence.
    """
    parameters = [sequence.request.sampling for sequence in sequences]
    if all(p.greedy for p in parameters):
        return None
    draws = uniform(
        [p.seed for p in parameters],
        [sequence.output_count + more for sequence, more in zip(sequences, further, strict=True)],
        [sequence.candidate for sequence in sequences],
    )
    limits = Limits.of(parameters)
    return np.vstack([[p.temperature for p in parameters], draws, limits.columns.numpy()]), limits.largest_k


def choose(logits: Tensor, likeliest: Tensor, numbers: Tensor, largest_k: float) -> Tensor:
    """Returns int64 `[rows]`: the likeliest token where a row is greedy, else one drawn as `sampler` draws it.

    Args:
        logits: `[rows, vocabulary]`.
        likeliest: int64 `[rows]`, NO_TOKEN where logits are not numbers.
        numbers: float64 `[NUMBERS, rows]` of `numbers_of`, on the same device.
        largest_k: The other thing that it returned.
    """
    temperature, draws = numbers[0].float(), numbers[1]
    usable = likeliest >= 0
    weighed = torch.where(usable.unsqueeze(1), scaled(logits.float(), temperature), 0.0)
    kept, whole = keep_of_head(weighed, Limits(numbers[2:], largest_k), 1)
    top_k, top_p, min_p = numbers[2:]
    limited = (top_k > 0) | (top_p < 2) | (min_p > 0)
    drawn = invert(torch.where(limited.unsqueeze(1), kept, weighed).exp(), draws)
    drawn = torch.where(whole | ~limited, drawn, UNDECIDED)
    return torch.where(usable & (temperature > 0), drawn, likeliest)
