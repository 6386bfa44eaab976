"""Where timestamp tokens may stand in an output, and which (transformers' WhisperTimeStampLogitsProcessor)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from services.engine.generation.sampling.timestamps import TimestampRule

_NEVER = float("-inf")


@dataclass(frozen=True)
class TimestampOrder:
    """Timestamps come in pairs and never decrease; one is forced where all together are likelier than any word."""

    rule: TimestampRule
    prompt_count: int

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Forbids the tokens that must not come next."""
        first, output = self.rule.first_id, token_ids[self.prompt_count :]
        row[self.rule.none_id] = _NEVER
        last = next((token for token in reversed(output) if token >= first), None)
        after_time = bool(output) and output[-1] >= first
        after_pair = after_time and (len(output) < 2 or output[-2] >= first)
        if after_pair:
            row[first:] = _NEVER
        elif after_time:
            row[: self.rule.end_id] = _NEVER
        if last is not None:
            # The second of a pair may be the time of the first; another may not be the time of the last.
            row[first : last if after_time and not after_pair else last + 1] = _NEVER
        if not output:
            row[:first] = _NEVER
            if self.rule.most_at_first is not None:
                row[first + self.rule.most_at_first + 1 :] = _NEVER
        scores = row.log_softmax(-1)
        if torch.logsumexp(scores[first:], -1) > scores[:first].max():
            row[:first] = _NEVER
