"""What a structured output forbids. Made for one sequence, as the other constraints are."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.generation.requests.request import StoppingCriteria
from services.engine.generation.sampling.penalties import RowProcessor
from services.engine.structure.structure import Structure, StructureFailed, StructureState

_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_ADDED = torch.from_numpy(np.where(_BYTES, np.float32(0), np.float32("-inf")))
"""What a byte of a mask adds to the logits of its eight tokens."""

Bits = NDArray[np.uint8]


class StructureMask:
    """Forbids tokens that the structure does not admit.

    The end of sequence is admitted where the output may end, and a stop token there and wherever its text is. State
    follows from the tokens and grows with them.
    """

    def __init__(self, structure: Structure, stopping: StoppingCriteria, begins: int) -> None:
        """The text that is held to the structure begins behind the first `begins` tokens of prompt and output."""
        self._structure = structure
        self._state: StructureState | None = None
        self._taken = begins
        self._lost = False  # whether the state may lack a token
        self._withheld = _positions(stopping.end_token_ids)
        self._ending = _positions(stopping.ending_ids)
        self.failure: str | None = None
        """Why nothing is admitted any more, if it is not the structure that says so."""

    @property
    def field(self) -> str:
        """Where the structure stands in the request."""
        return self._structure.field

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Forbids all other tokens."""
        forbid([row], [self.bits(token_ids, len(row))])

    def bits(self, token_ids: list[int], width: int) -> Bits:
        """Returns a bit for each of so many logits, 1 where the token is admitted: none behind tokens that were not."""
        size = -(-width // 8)
        if len(token_ids) < self._taken:
            return np.full(size, 255, dtype=np.uint8)
        bits = np.zeros(size, dtype=np.uint8)
        if self._state is None:
            self._state = self._structure.begin()
        new = token_ids[self._taken :]
        self._taken = len(token_ids)
        if self._lost:
            return bits
        self._lost = True
        try:
            if self._state.advance(new) < len(new):
                return bits
            mask = self._state.mask()[:size]
        except StructureFailed as error:
            self.failure = str(error)
            return bits
        self._lost = False
        bits[: len(mask)] = mask
        for place, bit in self._withheld:
            if place < size:
                bits[place] &= ~bit
        if self._state.accepting:
            for place, bit in self._ending:
                if place < size:
                    bits[place] |= bit
        return bits


def forbid(rows: list[Tensor], bits: list[Bits]) -> None:
    """Adds minus infinity to the logits whose bit is 0, in place. All rows are as wide."""
    device = rows[0].device
    places = torch.from_numpy(np.stack(bits)).to(device).int()
    added = torch.nn.functional.embedding(places, _ADDED.to(device)).flatten(1)
    for row, values in zip(rows, added, strict=True):
        row += values[: len(row)]


def structure_failure(processors: tuple[RowProcessor, ...] | None) -> StructureMask | None:
    """Returns the mask that forbade everything because it failed, if one did."""
    masks = (processor for processor in processors or () if isinstance(processor, StructureMask))
    return next((mask for mask in masks if mask.failure), None)


def _positions(token_ids: frozenset[int]) -> list[tuple[int, np.uint8]]:
    return [(i >> 3, np.uint8(1 << (i & 7))) for i in sorted(token_ids)]
