"""Runs models that generate codec codes, sentence by sentence."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.engine.checkpoint import Checkpoint
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.loading import SpeakerParts, load_speaker
from services.engine.speech_synthesis.model import Manner, SpeakingModel, Spoken

CPU = torch.device("cpu")


def loaded(folder: Path) -> SpeakingModel:
    return load_speaker(Checkpoint(str(folder), CPU), SpeakerParts()).speaker


def spoken(speaker: SpeakingModel, tokens: Sequence[int], manner: Manner, seed: int) -> tuple[list[Tensor], Any]:
    """Returns the pieces and the next sentence's `like`; others draw between the steps."""
    pieces, end = heard(speaker, tokens, manner, seed)
    return pieces, end.like


def heard(speaker: SpeakingModel, tokens: Sequence[int], manner: Manner, seed: int) -> tuple[list[Tensor], Spoken]:
    """Returns the pieces and how they ended; others draw between the steps."""
    pieces: list[Tensor] = []

    def steps() -> Generator[Tensor | None, None, Spoken]:
        return (yield from speaker.speak(tokens, manner, Draws(seed, CPU)))

    running = steps()
    with torch.inference_mode():
        while True:
            try:
                piece = next(running)
            except StopIteration as end:
                return pieces, end.value
            torch.randn(3)
            if piece is not None:
                pieces.append(piece)


def assert_same(pieces: list[Tensor], expected: Tensor, fewest: int) -> None:
    assert len(pieces) >= fewest, "it came in one piece"
    assert expected.std() > 1e-3, "there is nothing to hear"
    torch.testing.assert_close(torch.cat(pieces), expected, atol=3e-6, rtol=0)
