"""What one request wants of its logits, as numbers for a device that changes them: see `device_changes`."""

from array import array
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.requests.request import GenerationRequest
from services.engine.generation.sampling.constraints import BadWords, NoRepeatedRuns
from services.engine.generation.sampling.structure_mask import Bits, StructureMask

Ids = NDArray[np.int64]
Held = StructureMask | NoRepeatedRuns | BadWords
"""What only the host can tell to be forbidden."""


class Wishes:
    """Those of one sequence. Follows its growing tokens, as the penalties of the host do."""

    def __init__(self, request: GenerationRequest, held: tuple[Held, ...], *, none: bool, possible: bool) -> None:
        """Takes whether there are none, and whether a device can do all that there are but what is held."""
        sampling, stopping = request.sampling, request.stopping
        self._sampling, self._stopping = sampling, stopping
        self.none, self.possible, self.held = none, possible, held
        self.endings_from = len(request.prompt_token_ids) + stopping.min_new_tokens
        """How many tokens stand before the first ending that there may be."""
        self.penalties = sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty
        self.typical_p = 1.0 if sampling.greedy else sampling.typical_p
        """Of a row that is drawn: what is typical depends on all its logits."""
        self._prompt = array("q", dict.fromkeys(request.prompt_token_ids) if sampling.repetition_penalty != 1.0 else ())
        self._generated = array("q")
        self._prompt_count = len(request.prompt_token_ids)

    # Most requests have no wishes, and their first step waits for this to be made.
    @cached_property
    def biased(self) -> Ids:
        """The tokens whose logits are changed by `biases`."""
        return np.array([token for token, _ in self._sampling.logit_bias], dtype=np.int64)

    @cached_property
    def biases(self) -> NDArray[np.float32]:
        """What is added to the logits of `biased`."""
        return np.array([bias for _, bias in self._sampling.logit_bias], dtype=np.float32)

    @cached_property
    def never(self) -> Ids:
        """Those that are forbidden everywhere."""
        single = {words[0] for words in self._sampling.bad_words if len(words) == 1}
        return _ids(single - self._stopping.end_token_ids)

    @cached_property
    def endings(self) -> Ids:
        """Those that end an output."""
        return _ids(self._stopping.ending_ids)

    @cached_property
    def only(self) -> Ids | None:
        """Those that are allowed, if others are not."""
        allowed = self._sampling.allowed_token_ids
        return _ids({*allowed, *self._stopping.end_token_ids}) if allowed else None

    @property
    def penalized(self) -> bool:
        """Whether its past makes tokens less likely."""
        return self.penalties != (1.0, 0.0, 0.0)

    def past(self, token_ids: list[int]) -> tuple[Ids, Ids]:
        """Returns what is penalized of the prompt, each token once, and what was generated, of all tokens so far."""
        self._generated.extend(token_ids[self._prompt_count + len(self._generated) :])
        return np.array(self._prompt, dtype=np.int64), np.array(self._generated, dtype=np.int64)

    def admitted(self, output: OutputBuilder, token_ids: list[int], width: int) -> Bits:
        """Returns the bits of so many logits: 1 where nothing held forbids the token behind all so far.

        See StructureMask.
        """
        bits, forbidden = None, list[int]()
        for one in self.held:
            if isinstance(one, StructureMask):
                bits = one.bits(output, token_ids, width)
            else:
                forbidden += one.completing(token_ids)
        bits = bits or Bits(b"\xff") * -(-width // 8)
        if forbidden:
            tokens = np.array([token for token in forbidden if token < width], dtype=np.int64)
            among = np.frombuffer(bits, dtype=np.uint8)
            np.bitwise_and.at(among, tokens >> 3, ~(1 << (tokens & 7)).astype(np.uint8))
        return bits


def _ids(tokens: Iterable[int]) -> Ids:
    return np.array(sorted(tokens), dtype=np.int64)
