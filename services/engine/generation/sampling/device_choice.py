"""Tokens chosen where the logits are, of rows from which nothing but a token is wanted: nobody waits for them.

What changes the logits of some rows before is in `device_changes`, how likely a token was in `device_likelihoods`.
"""

import math
from collections.abc import Sequence as Rows
from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.generation.requests.request import GenerationRequest
from services.engine.generation.sampling.constraints import (
    AllowedTokens,
    BadWords,
    LogitBias,
    NoRepeatedRuns,
    WithheldEndings,
)
from services.engine.generation.sampling.draws import uniform, uniform_ahead
from services.engine.generation.sampling.inversion import invert
from services.engine.generation.sampling.penalties import OutputPenalties, RepetitionPenalty
from services.engine.generation.sampling.sampler import row_processors, scaled
from services.engine.generation.sampling.structure_mask import Processor, StructureMask
from services.engine.generation.sampling.truncation import Limits, limited, look_at_head, only_typical
from services.engine.generation.sampling.wishes import Held, Wishes
from services.engine.generation.sequence import Sequence

NO_TOKEN = -1
"""Where logits are not numbers."""
UNDECIDED = -2
"""Where more tokens may be drawn than the device has looked at: the row is to be computed again, with its logits."""
NUMBERS = 6
"""Of a row: its temperature, its draw, its limits, and whether they limit anything."""
DRAWS = 1
"""Which of them is the draw, the only one that is another in each step."""
_LIMITS, _LIMITED = slice(2, 5), 5
_AHEAD = 16
"""Steps that draws are made for at a time."""
_NO_LOGITS = torch.empty(0)
"""Stands where processors are made for a row, of which there has been none yet, to see which there will be."""
_KNOWN = LogitBias, RepetitionPenalty, OutputPenalties, BadWords, WithheldEndings, AllowedTokens
"""What a device does too. Of bad words only those of one token."""
_HELD = StructureMask, NoRepeatedRuns
"""What the host tells a device, as it does bad words of several tokens."""


def takes(sequence: Sequence) -> bool:
    """Returns whether a token is all that is wanted of the sequence's next logits, and a device can choose it."""
    # In this order, as beams are new sequences in each step.
    return not sequence.branches and not sequence.undecided and wishes_of(sequence).possible


def takes_as_they_are(sequence: Sequence) -> bool:
    """Returns whether it is chosen from the logits as the model computes them."""
    return takes(sequence) and wishes_of(sequence).none


def wishes_of(sequence: Sequence) -> Wishes:
    """Returns what the sequence's request wants of its logits."""
    if sequence.wishes is None:
        sequence.wishes = _wishes(sequence.request)
    return sequence.wishes


def _wishes(request: GenerationRequest) -> Wishes:
    made = row_processors(request, _NO_LOGITS)
    known = all(isinstance(one, _KNOWN + _HELD) for one in made)
    typical = request.sampling.typical_p < 1 and not request.sampling.greedy
    return Wishes(request, tuple(filter(_held, made)), none=not (made or typical), possible=known)


def _held(processor: Processor) -> TypeGuard[Held]:
    return (isinstance(processor, BadWords) and processor.several) or isinstance(processor, _HELD)


def numbers_of(sequences: Rows[Sequence], further: Rows[int]) -> NDArray[np.float64] | None:
    """Returns what `choose` needs to know, `[NUMBERS, rows]`; None where all rows are greedy.

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
    limits, narrow = Limits.of(parameters).columns.numpy(), [limited(p) for p in parameters]
    return np.vstack([[p.temperature for p in parameters], draws, limits, narrow])


class Draws:
    """The draws of rows that go on together, made for some steps at a time: so many cost hardly more than one."""

    def __init__(self, sequences: Rows[Sequence]) -> None:
        self._sequences = sequences
        self._left: list[NDArray[np.float64]] = []

    def take(self) -> NDArray[np.float64]:
        """Returns those of the tokens behind one that is not among the sequences' yet; to be called for each step."""
        if not self._left:
            parameters = [sequence.request.sampling for sequence in self._sequences]
            behind = [sequence.output_count + 1 for sequence in self._sequences]
            seeds, candidates = [p.seed for p in parameters], [sequence.candidate for sequence in self._sequences]
            self._left = [*uniform_ahead(seeds, behind, candidates, _AHEAD)[::-1]]
        return self._left.pop()


def choose(logits: Tensor, likeliest: Tensor, numbers: Tensor, typical: Tensor | None = None) -> Tensor:
    """Returns int64 `[rows]`: the likeliest token where a row is greedy, else one drawn as `sampler` draws it.

    Args:
        logits: `[rows, vocabulary]`.
        likeliest: int64 `[rows]`, NO_TOKEN where logits are not numbers.
        numbers: float64 `[NUMBERS, rows]` of `numbers_of`, on the same device.
        typical: float64 `[rows, 1]`, the typical-p of each.
    """
    temperature, narrow = numbers[0].float(), numbers[_LIMITED] > 0
    weighed = scaled(logits, temperature)
    weights = weighed.exp()
    limits = Limits(numbers[_LIMITS], largest_k=math.inf)
    head = look_at_head(weighed, limits, 1, total=weights.sum(dim=-1, keepdim=True))
    kept = weights.gather(1, head.order) * head.keep  # all of them where nothing is limited
    weights = weights.masked_fill_(narrow.unsqueeze(1), 0.0).scatter_(1, head.order, kept)
    if typical is not None:
        weights = only_typical(weighed.masked_fill_(weights == 0, -math.inf), typical, 1).exp()
    drawn = invert(weights, numbers[DRAWS]).masked_fill_(head.more & narrow, UNDECIDED)
    return torch.where((likeliest >= 0) & (temperature > 0), drawn, likeliest)
