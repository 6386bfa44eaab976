"""Rows of which the host says what is forbidden: it depends on all tokens in front of the one that is chosen.

So their tokens are chosen once these were read, behind a step that runs meanwhile.
"""

from collections.abc import Sequence as Rows

import torch
from torch import Tensor

from services.engine.generation.sampling.device_choice import wishes_of
from services.engine.generation.sampling.structure_mask import Bits, together
from services.engine.generation.sequence import Sequence


class HeldRows:
    """Some rows of some logits, which go on together."""

    def __init__(self, sequences: Rows[Sequence], rows: Tensor, vocabulary: int) -> None:
        """Takes which rows they are, int64 on the logits' device."""
        self._sequences, self._rows, self._vocabulary = sequences, rows, vocabulary
        self._size = -(-vocabulary // 8)
        self._powers = 1 << torch.arange(8, dtype=torch.uint8, device=rows.device)

    def forbid(self, logits: Tensor) -> None:
        """Forbids what may not follow the tokens that are known, in place, by one transfer that nobody waits for."""
        bits = together([self._admitted(sequence) for sequence in self._sequences])
        if logits.is_cuda:
            bits = bits.pin_memory().to(logits.device, non_blocking=True)
        forbidden = (bits.unsqueeze(2) & self._powers == 0).flatten(1)[:, : self._vocabulary]
        logits[self._rows] = logits[self._rows].masked_fill_(forbidden, float("-inf"))

    def _admitted(self, sequence: Sequence) -> Bits:
        """Returns a bit for each token, 1 where it is admitted."""
        if sequence.group.ended or sequence.output.finish:
            return Bits(b"\xff") * self._size  # whatever is chosen is thrown away
        try:
            return wishes_of(sequence).admitted(sequence.output, sequence.token_ids, self._vocabulary)
        except Exception:
            # Without a token it is computed again with its logits, and if that fails too its request ends alone.
            return Bits(self._size)
