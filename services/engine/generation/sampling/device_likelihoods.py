"""How likely tokens were, found where they are chosen, and told with them."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass

import torch
from torch import Tensor

from services.engine.generation.requests.request import Likelihood
from services.engine.generation.sampling.likelihood import measured, told
from services.engine.generation.sequence import Sequence


@dataclass(frozen=True)
class Report:
    """How likely some of a step's tokens were, on its way with them."""

    places: list[int]
    """Of these tokens among those of the step."""
    counts: list[int]
    """Likeliest others told of each."""
    measures: Tensor
    """Of `measured`, on the CPU; complete when the tokens are."""

    def read(self) -> dict[int, Likelihood]:
        """Returns them by their places."""
        return dict(zip(self.places, told(self.measures, self.counts), strict=True))


def likelihoods_of(sequences: Rows[Sequence], device: torch.device) -> "DeviceLikelihoods | None":
    """Returns what finds those that the requests of these rows ask for; None where none does."""
    counts = {i: count for i, one in enumerate(sequences) if (count := one.request.logprob_count) is not None}
    return DeviceLikelihoods(counts, device) if counts else None


class DeviceLikelihoods:
    """Of rows that go on together."""

    def __init__(self, counts: dict[int, int], device: torch.device) -> None:
        """Takes how many likeliest others are told of which rows."""
        self._places, self._counts = list(counts), list(counts.values())
        rows, cuda = torch.tensor(self._places), device.type == "cuda"
        self._rows = rows.pin_memory().to(device, non_blocking=True) if cuda else rows

    def report(self, logits: Tensor, chosen: Tensor) -> Report:
        """Returns how likely the tokens `chosen`, int64 `[rows]`, are by `logits` `[rows, vocabulary]`.

        Where there is none, less than 0, what is told means nothing. Nobody waits for it.
        """
        tokens = chosen[self._rows].clamp_(min=0)
        found = measured(logits[self._rows].float(), tokens, others=any(self._counts))
        measures = torch.empty(found.shape, dtype=found.dtype, pin_memory=found.is_cuda)
        return Report(self._places, self._counts, measures.copy_(found, non_blocking=True))
