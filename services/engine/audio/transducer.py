"""Models that go through the frames of sound, and write tokens or nothing at each (transducers: RNN-T and TDT)."""

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
from services.engine.audio.windows import Window, answered


class TransducerModel:
    """A FrameModel. Searches greedily, as the library's own `generate` does, for all of a batch at once."""

    writes_special = False

    def __init__(self, loaded: LoadedAudioModel) -> None:
        self._model: Any = loaded.model
        self._frames = FrameCount(loaded.model)
        self._blank = int(loaded.config.blank_token_id)
        self._most_at_once = int(loaded.config.max_symbols_per_step)
        self._durations = torch.tensor(tuple(getattr(loaded.config, "durations", ())), device=loaded.device)
        """Frames to go on by, that a model of TDT's kind chooses from at each step; empty for other models."""
        self.samples_per_frame = 0
        """Known after `measure`."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the steps of a search: what was written, its log-probability, and by how many frames it went on.

        They are called `ids`, `log_probabilities` and `durations`, `[items, steps]` each; `count` `[items]` tells how
        many are an item's own, and `frames` `[items]` how many frames it has. A Compute.
        """
        states: Tensor = self._model.get_audio_features(**batch).pooler_output
        lengths = self._frames.of(batch, states.shape[1])
        return self._search(states, lengths.to(states.device)) | {"frames": lengths}

    def measure(self, reader: AudioReader, runner: AudioRunner) -> None:
        """See FrameModel."""
        self.samples_per_frame = frame_length(reader, runner, "frames")
        reader.pads = reader.pads and self._frames.known

    def emissions(self, found: Sequence[Window], outputs: Sequence[Any]) -> list[Emission]:
        """See FrameModel. A token lasts as long as the model says, or where it says nothing one frame."""
        written: list[Emission] = []
        for window, output in zip(found, outputs, strict=True):
            own = answered(window, self.samples_per_frame)
            first, place = window.start // self.samples_per_frame, 0
            names = ("ids", "durations", "log_probabilities")
            steps = (output[name][: int(output["count"])].tolist() for name in names)
            for token, duration, log_probability in zip(*steps, strict=True):
                if token != self._blank and place in own:
                    span = duration if len(self._durations) else 1
                    written.append(Emission(token, first + place, first + place + span, log_probability))
                place += duration
        return written

    def _search(self, states: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Returns the steps through `[items, frames, width]`, of which so many are each item's own."""
        rows = torch.arange(len(states), device=states.device)
        places, counts, at_once = (torch.zeros_like(lengths) for _ in range(3))
        tokens = torch.full_like(lengths, self._blank)
        cache: Any = ParakeetRNNTDecoderCache(self._model.config)
        steps: dict[str, list[Tensor]] = {"ids": [], "log_probabilities": [], "durations": []}
        # One that writes for ever without going on is stopped where the library's own output would be full.
        while (open_rows := (places < lengths) & (counts < self._most_at_once * lengths - 1)).any():
            heard = states[rows, places.clamp(max=states.shape[1] - 1)]
            logits = self._model.joint(self._model.decoder(tokens[:, None], cache=cache)[:, 0], heard).float()
            kinds = logits.shape[1] - len(self._durations)
            values, tokens = logits[:, :kinds].log_softmax(-1).max(-1)
            blank = tokens == self._blank
            at_once = (at_once + 1).masked_fill(blank, 0)
            ahead = self._ahead(logits[:, kinds:], blank, at_once) * open_rows
            at_once = at_once.masked_fill(ahead > 0, 0)
            places, counts = places + ahead, counts + open_rows
            for name, value in (("ids", tokens), ("log_probabilities", values), ("durations", ahead)):
                steps[name].append(value)
        return {name: torch.stack(taken, 1) for name, taken in steps.items()} | {"count": counts}

    def _ahead(self, logits: Tensor, blank: Tensor, at_once: Tensor) -> Tensor:
        """Returns by how many frames to go on."""
        if len(self._durations):
            return self._durations[logits.argmax(-1)].clamp_min(blank.long())
        return (blank | (at_once >= self._most_at_once)).long()
