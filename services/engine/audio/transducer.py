"""Transducers (RNN-T and TDT), which walk over audio frames and emit tokens or the blank at each."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.models.parakeet.generation_parakeet import ParakeetRNNTDecoderCache

from services.engine.audio.emissions import Emission
from services.engine.audio.frame_count import FrameCount, frame_length
from services.engine.audio.loading import LoadedAudioModel
from services.engine.audio.reader import AudioReader
from services.engine.audio.runner import AudioRunner
from services.engine.audio.search_runner import FOUND, STATE, SearchRunner
from services.engine.audio.windows import Window, answered

_STEPS = 128
"""Decoding steps per turn: those of about five seconds of speech, in a quarter of a second."""


class TransducerModel:
    """A FrameModel for transducers. Decodes greedily as the library's `generate` does, a whole batch at once."""

    writes_special = False
    runner = SearchRunner

    def __init__(self, loaded: LoadedAudioModel) -> None:
        self._loaded = loaded
        self._model: Any = loaded.model
        self._frames = FrameCount(loaded.model)
        self._blank = int(loaded.config.blank_token_id)
        self._most_at_once = int(loaded.config.max_symbols_per_step)
        self._durations = torch.tensor(tuple(getattr(loaded.config, "durations", ())), device=loaded.device)
        """Durations in frames that a TDT model chooses from at each step; empty for RNN-T."""
        self.samples_per_frame = 0
        """Set by `measure`."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Runs up to `_STEPS` decoding steps: tokens, their log-probabilities, and frames advanced. A Compute.

        Returns the outputs that SearchRunner expects, and `frames` `[items]`, the number of each item's frames.
        """
        if "progress" in batch:
            return self._search(batch["heard"], batch["progress"], self._cache(batch))
        states, lengths = self._hear(batch)
        none = torch.zeros_like(lengths)
        progress = torch.stack([lengths, none, none, none, none + self._blank], 1)
        return self._search(states, progress, ParakeetRNNTDecoderCache(self._model.config))

    def measure(self, reader: AudioReader) -> None:
        """See FrameModel."""
        runner = AudioRunner(self._loaded, lambda batch: {"frames": self._hear(batch)[1]})
        self.samples_per_frame = frame_length(reader, runner, "frames")
        reader.pads = reader.pads and self._frames.known

    def emissions(self, found: Sequence[Window], outputs: Sequence[Any]) -> list[Emission]:
        """See FrameModel. A token lasts as long as the model predicts (TDT), or one frame (RNN-T)."""
        written: list[Emission] = []
        for window, output in zip(found, outputs, strict=True):
            own = answered(window, self.samples_per_frame)
            first, place = window.start // self.samples_per_frame, 0
            steps = (output[name][: int(output["count"])].tolist() for name in FOUND)
            for token, log_probability, duration in zip(*steps, strict=True):
                if token != self._blank and place in own:
                    span = duration if len(self._durations) else 1
                    written.append(Emission(token, first + place, first + place + span, log_probability))
                place += duration
        return written

    def _hear(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the encoder states `[items, frames, width]` and the number of each item's frames."""
        states: Tensor = self._model.get_audio_features(**batch).pooler_output
        return states, self._frames.of(batch, states.shape[1]).to(states.device)

    def _search(self, heard: Tensor, progress: Tensor, cache: Any) -> dict[str, Tensor]:
        """Decodes encoder states `[items, frames, width]`.

        `progress` `[items, 5]` holds number of frames, current frame, steps so far, tokens at this frame, last token.
        """
        rows = torch.arange(len(heard), device=heard.device)
        lengths, places, before, at_once, tokens = progress.unbind(1)
        counts = before
        steps: dict[str, list[Tensor]] = {name: [] for name in FOUND}

        def is_open() -> Tensor:
            # A search that never advances stops at the length limit of the library's own output.
            return (places < lengths) & (counts < self._most_at_once * lengths - 1)

        while (open_rows := is_open()).any() and len(steps["ids"]) < _STEPS:
            states = heard[rows, places.clamp(max=heard.shape[1] - 1)]
            logits = self._model.joint(self._model.decoder(tokens[:, None], cache=cache)[:, 0], states).float()
            kinds = logits.shape[1] - len(self._durations)
            values, tokens = logits[:, :kinds].log_softmax(-1).max(-1)
            blank = tokens == self._blank
            at_once = (at_once + 1).masked_fill(blank, 0)
            ahead = self._ahead(logits[:, kinds:], blank, at_once) * open_rows
            at_once = at_once.masked_fill(ahead > 0, 0)
            places, counts = places + ahead, counts + open_rows
            for name, value in zip(FOUND, (tokens, values, ahead), strict=True):
                steps[name].append(value)
        found = {name: torch.stack(values, 1) for name, values in steps.items()}
        found |= {"count": counts - before, "frames": lengths, "open": open_rows}
        if not open_rows.any():
            return found
        return found | _search_state(heard, torch.stack([lengths, places, counts, at_once, tokens], 1), cache)

    def _cache(self, state: dict[str, Tensor]) -> Any:
        """Restores the decoder's cache of an unfinished search."""
        cache: Any = ParakeetRNNTDecoderCache(self._model.config)
        cache.cache, cache.is_initialized = state["output"], True
        cache.hidden_state, cache.cell_state = (state[name].transpose(0, 1).contiguous() for name in ("hidden", "cell"))
        return cache

    def _ahead(self, logits: Tensor, blank: Tensor, at_once: Tensor) -> Tensor:
        """Returns by how many frames each item advances."""
        if len(self._durations):
            return self._durations[logits.argmax(-1)].clamp_min(blank.long())
        return (blank | (at_once >= self._most_at_once)).long()


def _search_state(heard: Tensor, progress: Tensor, cache: Any) -> dict[str, Tensor]:
    """Returns the state of an unfinished search, as outputs of SearchRunner."""
    hidden, cell = cache.hidden_state.transpose(0, 1), cache.cell_state.transpose(0, 1)
    state = {"heard": heard, "progress": progress, "output": cache.cache, "hidden": hidden, "cell": cell}
    return {STATE + name: value for name, value in state.items()}
