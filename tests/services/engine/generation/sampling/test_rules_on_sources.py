"""Rules that relate an output to its source hold where the source is text."""

from typing import Any

import pytest
import torch

from services.engine.generation.requests.request import (
    GenerationRequest,
    OutputRules,
    SamplingParameters,
    StoppingCriteria,
)
from services.engine.generation.running.media import PromptMedia
from services.engine.generation.sampling.rules import source_processors

RULES = OutputRules(source_repetition_penalty=3.0, source_no_repeat_ngram_size=1)


@pytest.mark.parametrize(("media", "count"), [(None, 2), (PromptMedia([], []), 0)])
def test_a_recording_or_an_image_has_no_tokens_to_repeat(media: Any, count: int) -> None:
    """Its encoder's input is counted in tokens that all are 0. `generate` leaves the rules out."""
    asked = GenerationRequest(
        (1,), SamplingParameters(rules=RULES), StoppingCriteria(8), source_token_ids=(0, 0, 0), media=media
    )
    assert len([*source_processors(asked, torch.zeros(9))]) == count
