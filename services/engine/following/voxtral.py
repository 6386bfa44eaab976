"""Voxtral Realtime: audio embeddings are added to text token embeddings, 12.5 per second, as audio arrives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.engine.audio.loading import LoadedAudioModel
from services.engine.following.model import FollowingModel, Track, Written, likeliest
from services.engine.following.row_cache import CacheShape, Room, RowCache
from services.engine.following.sound_buffer import SoundBuffer
from services.engine.generation.running.encoder_decoder_runner import cache_name
from services.engine.model_rules import token_ids

_BUFFER = 10
"""Additional tokens after the delay for the last word, as mistral-common has it for whole recordings."""


@dataclass(frozen=True)
class StreamingPrompt:
    """The prompt tokens before the text, and the silence that belongs to them."""

    first: int
    padding: int
    """The token for silence before the text."""
    left: int = 32
    """Tokens of silence before the audio."""
    delay: int = 6
    """Delay of the text behind the audio, in tokens."""

    @property
    def tokens(self) -> list[int]:
        """The whole prompt."""
        return [self.first, *[self.padding] * (self.left + self.delay)]


class VoxtralTrack(Track):
    """See Track."""

    def __init__(self, row: int, written: Sequence[int], own: "VoxtralModel") -> None:
        silence = SoundBuffer(own.prompt.left * own.frame)
        super().__init__(row, written, own, silence, first=len(own.prompt.tokens))
        self.spectrum: Tensor | None = None
        """Mel frames of the previous token, `[bins, frames]`: the left context of the encoder's convolutions."""
        self._own = own

    @property
    def next_count(self) -> int:
        """Number of tokens of the next step: the whole prompt first, then one."""
        return 1 if self.place else self._first

    @property
    def ready(self) -> bool:
        """See Track."""
        return not self.done and (self.last >= 0 or self._own.reach(self.place + self.next_count) <= self.sound.end)

    def end(self) -> None:
        """See Track."""
        behind = self._own.prompt.delay + 1 + _BUFFER
        # The last token is written but not read.
        self.last = math.ceil(self.sound.end / self._own.frame) + behind - 1


class VoxtralModel(FollowingModel):
    """Encoder and decoder step all utterances in one batch; prompts are prefilled one by one."""

    def __init__(self, loaded: LoadedAudioModel, prompt: StreamingPrompt, room: Room, seconds: float) -> None:
        model: Any = loaded.model
        config: Any = model.config
        self.loaded, self.rate, self.prompt = loaded, loaded.rate, prompt
        self._extractor = loaded.extractor
        self._hop, self._half = self._extractor.hop_length, self._extractor.n_fft // 2
        self._frames = int(config.audio_length_per_tok)
        """Mel frames per token."""
        self._states = int(config.downsample_factor)
        """Encoder states per token."""
        self.frame = self._frames * self._hop
        self.end_ids = token_ids(model.generation_config.eos_token_id)
        self._model = model
        self._cache_name = cache_name(model)
        self._delay = model.model.time_embedding(
            torch.full((1,), float(prompt.delay), device=model.device, dtype=model.dtype)
        )[None]
        first = len(prompt.tokens)
        most = math.ceil(seconds * self.rate / self.frame) + first + _BUFFER + 1
        text, sound = CacheShape.of(config.text_config), CacheShape.of(config.audio_config)
        sizes = text.capacity(most, first), sound.capacity(most * self._states, first * self._states)
        place = model.dtype, model.device
        self.rows = room.rows_of(text.row_bytes(sizes[0], model.dtype) + sound.row_bytes(sizes[1], model.dtype))
        self._text = RowCache(text, self.rows, sizes[0], *place)
        self._sound = RowCache(sound, self.rows, sizes[1], *place)

    def reach(self, tokens: int) -> int:
        """Returns the index after the last sample that `tokens` tokens need; STFT windows reach beyond their frames."""
        return (tokens * self._frames - 1) * self._hop + self._half

    def track(self, row: int, written: Sequence[int]) -> VoxtralTrack:
        """See FollowingModel."""
        self._text.clear(row)
        self._sound.clear(row)
        return VoxtralTrack(row, written, self)

    def step(self, tracks: Sequence[VoxtralTrack]) -> list[Written]:
        """See FollowingModel."""
        beginning = [[track] for track in tracks if not track.place]
        batches = [batch for batch in (*beginning, [track for track in tracks if track.place]) if batch]
        read = [self._read(batch) for batch in batches]
        found: dict[int, Written] = {}
        for batch, (spectra, tokens) in zip(batches, read, strict=True):  # advance only once all batches succeeded
            for track, spectrum, written in zip(batch, spectra, tokens, strict=True):
                self._advance(track, spectrum, written.token)
                found[track.row] = written
        return [found[track.row] for track in tracks]

    def _read(self, tracks: Sequence[VoxtralTrack]) -> tuple[list[Tensor], list[Written]]:
        """Runs one step of utterances with equally many new tokens; returns their mel frames and next tokens."""
        count, rows, starts = tracks[0].next_count, [track.row for track in tracks], [track.place for track in tracks]
        tokens = [[track.token] if track.place else self.prompt.tokens for track in tracks]
        spectra = [self._spectrum(track) for track in tracks]
        model = self._model.model
        given = model.language_model.embed_tokens(torch.tensor(tokens, device=self._model.device))
        given = given + self._heard(spectra, rows, starts, count)
        places, mask = self._text.begin(rows, starts, count)
        states = model.language_model(
            inputs_embeds=given, position_ids=places, attention_mask=mask, t_cond=self._delay, use_cache=True,
            **{self._cache_name: self._text},
        ).last_hidden_state  # fmt: skip
        return spectra, likeliest(self._model.lm_head(states[:, -1]), [track.forced for track in tracks])

    def _advance(self, track: VoxtralTrack, spectrum: Tensor, token: int) -> None:
        track.sound.forget(self.reach(track.place + track.next_count) - self._hop - 2 * self._half)
        track.spectrum = spectrum[:, -self._frames :]
        track.token = token
        track.place += track.next_count

    def _heard(self, spectra: Sequence[Tensor], rows: list[int], starts: list[int], count: int) -> Tensor:
        """Returns the audio embeddings to add to the token embeddings, `[rows, count, width]`."""
        features = torch.stack(list(spectra)).to(self._model.device, self._model.dtype)
        tower = self._model.model.audio_tower
        given = tower.embedder(features)[:, -count * self._states :]
        places, mask = self._sound.begin(rows, [start * self._states for start in starts], count * self._states)
        states = tower(
            inputs_embeds=given, position_ids=places, attention_mask=mask, use_cache=True,
            **{self._cache_name: self._sound},
        ).last_hidden_state  # fmt: skip
        return self._model.model.multi_modal_projector(states.reshape(len(rows), count, -1))

    def _spectrum(self, track: VoxtralTrack) -> Tensor:
        """Returns the mel frames of the next tokens, after those of the previous token if there is one."""
        begin, end = track.place * self.frame, self.reach(track.place + track.next_count)
        samples = track.sound.read(max(begin - self._half, 0), end)
        # The extractor drops the last frame. Where it does not pad by centring, a hop of silence makes that frame.
        behind = np.zeros(self._hop if track.place else 0, np.float32)
        (new,) = self._extractor(
            np.concatenate([samples, behind]), sampling_rate=self.rate, center=not track.place, return_tensors="pt"
        )["input_features"]
        return new if track.spectrum is None else torch.cat([track.spectrum, new], 1)
