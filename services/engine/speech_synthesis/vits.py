"""VITS: encodes a sentence at once, samples durations and frames, and decodes them to audio in windows."""

from collections.abc import Generator, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.vocoder import WindowedVocoder

_MOST_TOKENS = 2048
"""Attention over this many tokens takes some tens of megabytes."""


class Vits:
    """A SpeakingModel for VITS and MMS-TTS."""

    embedding_width = 0
    has_rates = True
    divides = True
    joins = False
    most_tokens = _MOST_TOKENS

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._decoder = model.decoder
        self._frames = _Frames()
        # A shallow copy that shares all weights, but stops before the decoder, which is then run in windows.
        self._reading = copy(model)
        self._reading._modules = {**model._modules, "decoder": self._frames}
        self.sample_rate: int = model.config.sampling_rate
        self.language: str = getattr(tokenizer, "language", None) or ""
        speakers = model.config.num_speakers
        self.voices: Sequence[str] = tuple(map(str, range(speakers))) if speakers > 1 else ()

    def read(self, sentence: str) -> list[int]:
        """See SpeakingModel."""
        known = self._model.config.vocab_size
        tokens = [token for token in self._ids(sentence) if token < known]
        return [] if set(tokens) <= self._mute and self._is_mute(sentence) else tokens

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws) -> Generator[Tensor | None, None, Spoken]:
        """See SpeakingModel."""
        ids = torch.tensor([tokens], device=self._model.device)
        rate = self._model.speaking_rate * manner.rate
        with draws.in_force():
            self._reading(
                input_ids=ids, attention_mask=torch.ones_like(ids), speaker_id=manner.voice, speaking_rate=rate
            )
        frames, voice = self._frames.take()
        vocoder = WindowedVocoder(self._decoder, lambda part: self._decoder(part.T[None], voice)[0, 0])
        yield from vocoder.pieces(frames[0].T)
        return Spoken(cut=False)

    @cached_property
    def _mute(self) -> set[int]:
        """The tokens of a sentence without anything to say."""
        return {self._tokenizer.unk_token_id, *self._ids("")}

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text)["input_ids"]

    def _is_mute(self, sentence: str) -> bool:
        """Returns whether the tokenizer drops every letter of a sentence: its blank may also be a letter's token."""
        prepare = getattr(self._tokenizer, "prepare_for_tokenization", None)
        if prepare is None:
            return True
        vocabulary = self._tokenizer.get_vocab()
        return not any(letter in vocabulary for letter in prepare(sentence)[0])


class _Frames(nn.Module):
    """Takes the decoder's place in the model and keeps its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self._given: tuple[Tensor, Tensor | None] | None = None

    def forward(self, frames: Tensor, voice: Tensor | None = None) -> Tensor:
        self._given = (frames, voice)
        return frames[:, :1, :0]

    def take(self) -> tuple[Tensor, Tensor | None]:
        """Returns frames `[1, channels, frames]` and the speaker conditioning."""
        given, self._given = self._given, None
        assert given is not None
        return given
