"""The constraint of a structured output."""

import numpy as np
import torch
from torch import Tensor

from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.requests.request import StoppingCriteria
from services.engine.generation.sampling.penalties import RowProcessor
from services.engine.structure.structure import Structure, StructureFailed, StructureState

_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_ADDED = torch.from_numpy(np.where(_BYTES, np.float32(0), np.float32("-inf")))
"""The numbers that a byte of a mask adds to the logits of its eight tokens."""

Bits = bytearray
"""One bit for each logit, the lowest of each byte first: 1 where the token is admitted."""


class StructureMask:
    """Tells which tokens the structure admits after the output so far.

    The end of sequence is admitted where the output may end; a stop token there, and where its text is admitted. Each
    object belongs to one sequence, as other constraints do.
    """

    def __init__(self, structure: Structure, stopping: StoppingCriteria, begins: int) -> None:
        """The structured text begins after the first `begins` tokens of prompt and output."""
        self._begins = begins
        self._ahead: StructureState | None = None  # behind tokens that were proposed, and that the output may get
        self._withheld = _positions(stopping.end_token_ids)
        self._ending = _positions(stopping.ending_ids)
        self.field = structure.field
        """The request's field of the structure."""
        self.failure: str | None = None
        """Why nothing is admitted any more, if not by the structure itself."""

    def bits(self, output: OutputBuilder, token_ids: list[int], width: int) -> Bits:
        """Returns the bits of `width` logits: all are 0 after tokens that were not admitted.

        Args:
            output: What these tokens are taken by. It may lack the last of them.
            token_ids: All of the sequence, the prompt's first.
            width: How many logits there are.
        """
        size = -(-width // 8)
        if len(token_ids) < self._begins:
            return Bits(b"\xff") * size
        assert output.structure
        try:
            state = self._behind(output.structure, token_ids)
            bits = Bits(state.mask() if state else b"")
        except StructureFailed as error:
            self.failure = str(error)
            return Bits(size)
        bits = bits[:size].ljust(size, b"\0")
        if state:
            for place, bit in self._withheld:
                if place < size:
                    bits[place] &= ~bit
            if state.accepting:
                for place, bit in self._ending:
                    if place < size:
                        bits[place] |= bit
        return bits

    def _behind(self, state: StructureState, token_ids: list[int]) -> StructureState | None:
        """Returns the state after all tokens; None where one of them was not admitted.

        Raises:
            StructureFailed: one was too much for it.
        """
        count = len(token_ids) - self._begins
        if state.taken < count and not state.failure:
            if self._ahead is None or not state.taken < self._ahead.taken <= count:
                self._ahead = state.ahead()
            state = self._ahead
            state.advance(token_ids[self._begins + state.taken :])
        return state if state.taken == count or state.failure else None


Processor = RowProcessor | StructureMask
"""Changes logits in place, or tells which tokens are admitted."""


def forbid(logits: Tensor, masks: dict[int, Bits]) -> None:
    """Adds minus infinity, in place, to the logits whose bit is 0, in rows that have a mask."""
    device = logits.device
    places = together([*masks.values()]).to(device).int()
    added = torch.nn.functional.embedding(places, _ADDED.to(device)).flatten(1)
    logits.index_add_(0, torch.tensor([*masks], device=device), added[:, : logits.shape[1]])


def together(bits: list[Bits]) -> Tensor:
    """Stacks the bits of rows of one width: uint8 `[rows, width / 8]`, rounded up."""
    return torch.frombuffer(Bits().join(bits), dtype=torch.uint8).view(len(bits), -1)


def structure_failure(processors: tuple[Processor, ...] | None) -> StructureMask | None:
    """Returns the mask that forbids everything because it has failed, if there is one."""
    masks = (processor for processor in processors or () if isinstance(processor, StructureMask))
    return next((mask for mask in masks if mask.failure), None)


def _positions(token_ids: frozenset[int]) -> list[tuple[int, int]]:
    return [(i >> 3, 1 << (i & 7)) for i in sorted(token_ids)]
