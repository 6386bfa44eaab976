"""Kyutai STT: the decoder reads the codec's tokens of a frame with each text token, 12.5 per second."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.engine.audio.loading import LoadedAudioModel
from services.engine.following.model import FollowingModel, Track, Written, likeliest
from services.engine.following.row_cache import CacheShape, Room, RowCache
from services.engine.following.sound_buffer import SoundBuffer
from services.engine.generation.running.encoder_decoder_runner import cache_name
from services.engine.media.recording import Samples
from services.engine.model_rules import token_ids

_AHEAD = 25
"""Frames that the codec encodes at once at most, when they are there (recordings)."""


class KyutaiTrack(Track):
    """See Track. Each token needs one more frame, but the first, which needs none."""

    def __init__(self, row: int, written: Sequence[int], own: "KyutaiModel") -> None:
        super().__init__(row, written, own, SoundBuffer(own.silence_before), first=1)
        self.token = own.first_token
        self.codes = deque[Tensor]()
        """Codec tokens `[codebooks]` of frames that the decoder has not read."""
        self.heard = 0
        """Number of frames that the codec has encoded."""
        self.ear: dict[str, Any] = {"use_streaming": True}
        """The codec's streaming state."""
        self.failed: Exception | None = None
        """The codec's error: its state is undefined after it, so each further step raises it again."""
        self._own = own

    @property
    def ready(self) -> bool:
        """See Track."""
        return not self.done and self.has(self.place - 1)

    def end(self) -> None:
        """See Track."""
        self.last = (self.sound.end + self._own.silence_behind) // self._own.frame

    def has(self, index: int) -> bool:
        """Returns whether the codec's `index`-th frame is complete; after the end, silence completes any frame."""
        return self.last >= 0 or (self._frame_of(index) + 1) * self._own.frame <= self.sound.end

    def samples_of(self, index: int) -> Samples:
        """Returns the samples of the codec's `index`-th frame, and drops earlier samples."""
        frame, begin = self._own.frame, self._frame_of(index) * self._own.frame
        samples = self.sound.read(begin, begin + frame)
        if index >= self._own.repeated:
            self.sound.forget(begin)
        return samples

    def _frame_of(self, index: int) -> int:
        repeated = self._own.repeated
        return index if index < repeated else index - repeated


class KyutaiModel(FollowingModel):
    """The codec encodes each utterance by itself, with its streaming state; the decoder steps all in one batch."""

    def __init__(self, loaded: LoadedAudioModel, room: Room, seconds: float) -> None:
        model: Any = loaded.model
        extractor: Any = loaded.extractor
        self.loaded, self.rate = loaded, loaded.rate
        self.frame = int(model.config.frame_size)
        self.first_token = int(model.config.bos_token_id)
        self.end_ids = token_ids(model.generation_config.eos_token_id)
        self.silence_before = int(extractor.audio_silence_prefix_seconds * self.rate)
        # The extractor pads with one second more than the delay.
        self.silence_behind = int((extractor.audio_delay_seconds + 1.0) * self.rate)
        # With an audio window, the library's `generate` encodes the frames of the first window twice.
        self.repeated = int(getattr(model.generation_config, "audio_window_size", None) or 0)
        self._model = model
        self._cache_name = cache_name(model)
        self._no_codes = torch.full((model.config.num_codebooks,), model.config.audio_bos_token_id, device=model.device)
        shape = CacheShape.of(model.config)
        most = math.ceil((seconds * self.rate + self.silence_before + self.silence_behind) / self.frame)
        capacity = shape.capacity(most, 1)
        self.rows = room.rows_of(shape.row_bytes(capacity, model.dtype))
        self._cache = RowCache(shape, self.rows, capacity, model.dtype, model.device)

    def track(self, row: int, written: Sequence[int]) -> KyutaiTrack:
        """See FollowingModel."""
        self._cache.clear(row)
        return KyutaiTrack(row, written, self)

    def step(self, tracks: Sequence[KyutaiTrack]) -> list[Written]:
        """See FollowingModel."""
        codes = [self._codes(track) if track.place else self._no_codes for track in tracks]
        tokens = torch.tensor([[track.token] for track in tracks], device=self._model.device)
        places, mask = self._cache.begin([track.row for track in tracks], [track.place for track in tracks], 1)
        states = self._model.model(
            input_ids=torch.cat([tokens, torch.stack(codes)], 1)[:, None],
            position_ids=places,
            attention_mask=mask,
            use_cache=True,
            **{self._cache_name: self._cache},
        ).last_hidden_state
        found = likeliest(self._model.lm_head(states[:, -1]), [track.forced for track in tracks])
        for track, written in zip(tracks, found, strict=True):
            if track.place:
                track.codes.popleft()
            track.token = written.token
            track.place += 1
        return found

    def _codes(self, track: KyutaiTrack) -> Tensor:
        """Returns the codec tokens of the next frame; encodes several frames at once if they are there."""
        if track.failed is not None:
            raise track.failed
        if not track.codes:
            try:
                self._hear(track)
            except Exception as error:
                track.failed = error
                raise
        return track.codes[0]

    def _hear(self, track: KyutaiTrack) -> None:
        count = next((i for i in range(_AHEAD) if not track.has(track.heard + i)), _AHEAD)
        sound = np.concatenate([track.samples_of(track.heard + i) for i in range(count)])
        given = torch.from_numpy(sound)[None, None].to(self._model.device)
        output = self._model.codec_model.encode(given, **track.ear)
        kept = "encoder_cache" if hasattr(output, "encoder_cache") else "encoder_past_key_values"  # transformers 5.17
        track.ear = {name: getattr(output, name) for name in (kept, "padding_cache")}
        track.ear["use_streaming"] = True
        track.codes.extend(output.audio_codes[0].unbind(1))
        track.heard += count
