"""What the log-probabilities of a token have to be."""

import pytest
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from services.engine.generation.requests.request import TokenLogprob


def require_own(line: Tensor, entry: TokenLogprob, count: int, tokenizer: PreTrainedTokenizerFast) -> None:
    """Holds a token's entry with `count` alternatives to the model's own `[vocabulary]`."""
    assert entry.logprob == pytest.approx(float(line[entry.token_id]), abs=1e-4)
    ordered = line.sort(descending=True).values
    assert float(ordered[entry.rank - 1]) == pytest.approx(entry.logprob, abs=1e-4)
    assert [other.logprob for other in entry.alternatives] == pytest.approx(ordered[:count].tolist(), abs=1e-4)
    for other in entry.alternatives:
        assert other.logprob == pytest.approx(float(line[other.token_id]), abs=1e-4)
        assert other.text == tokenizer.decode([other.token_id])
