"""Which end a text is told to have, of those that its sentences had."""

from collections.abc import Generator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from services.engine.media.audio_encoding import AudioEncoding
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.speech import REST, Step
from services.speech.synthesis.synthesis_ask import AudioFacts
from services.speech.synthesis.synthesize import Synthesizer, _Prepared


def speak(tokens: Sequence[int], manner: Manner, _draws: object) -> Generator[None, None, Spoken]:
    """Is cut in sentences of two tokens."""
    yield None
    return Spoken(len(tokens) == 2, [*(manner.like or []), *tokens])


@pytest.mark.parametrize(("sentences", "cut"), [([[1], [2, 3], [4]], True), ([[1], [2]], False)])
def test_a_text_with_a_cut_sentence_is_cut(sentences: list[list[int]], cut: bool) -> None:
    nothing: Any = None
    loaded: Any = SimpleNamespace(speaker=SimpleNamespace(speak=speak), device=torch.device("cpu"))
    synthesizer = Synthesizer(loaded, nothing, nothing, 9, 9999)
    facts = AudioFacts(AudioEncoding.WAV, 8000, 0)
    found: list[bool] = []

    def read() -> Generator[Step]:
        found.append((yield from synthesizer._steps(_Prepared(sentences, Manner(), facts))))

    assert [*read()].count(REST) == len(sentences) - 1
    assert found == [cut]
