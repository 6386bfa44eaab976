"""Builds the batched pipeline of an audio model, for every task that reads recordings in one forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from services.engine.acceleration.trial import try_out
from services.engine.admission import QueueLimits
from services.engine.audio.habits import learn, noise
from services.engine.audio.loading import LoadedAudioModel
from services.engine.audio.reader import FRAMES_PER_SECOND, AudioInputs, AudioReader
from services.engine.audio.runner import AudioRunner, Compute
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher, BatchRunner
from services.engine.batching.pipeline import Pipeline
from services.engine.batching.queue import BatchLimits
from services.engine.metrics import EngineMetrics
from services.speech.config import SpeechSettings
from services.speech.recording_list import RecordingList

_TRIED_SECONDS = 1.0


@dataclass(frozen=True)
class Workbench:
    """A loaded model with the reader of its recordings and the settings that its verbs are built from."""

    loaded: LoadedAudioModel
    reader: AudioReader
    settings: SpeechSettings
    metrics: EngineMetrics

    def pipeline(
        self, compute: Compute, probes: Sequence[AudioInputs] = (), kind: type[AudioRunner] = AudioRunner
    ) -> Pipeline:
        """Returns the model's pipeline: batches of recordings through `compute`. To be called once for each model.

        It speeds the model up where the outputs stay the same, and tells the reader whether the model can pad and how
        few samples it reads. `probes` are inputs to compare the outputs on, one by one, beside a second of noise.

        Raises:
            ModelRefused: the model fails on these inputs, or two equal rows of a batch get different outputs.
        """
        runner = kind(self.loaded, compute)

        def run() -> list[Tensor]:
            outputs = [runner.compute([probe.tensors, probe.tensors]) for probe in (self.heard, *probes)]
            values = (value for output in outputs for value in output.values())
            # Integers are argmax results: which of two equal scores wins is chance, and no difference.
            return [value for value in values if value.is_floating_point()]

        pipeline = self.pipeline_of(runner, run)
        learn(self.reader, runner, self.loaded.model.dtype)
        return pipeline

    def pipeline_of(self, runner: BatchRunner, run: Callable[[], Sequence[Tensor]]) -> Pipeline:
        """Returns a pipeline of a runner, as `pipeline` does, but measures nothing for the reader.

        `run` returns the runner's outputs for two equal items in one batch, `[2, ...]` each.
        """
        try_out(self.loaded, run, "recording")
        settings = self.settings
        admission = BatchAdmission(
            QueueLimits(settings.max_queued_requests, settings.max_queued_seconds * FRAMES_PER_SECOND),
            unit="frames of 20 ms",
        )
        limits = BatchLimits(length=settings.max_batch_seconds * FRAMES_PER_SECOND)
        wait = settings.batch_wait_ms / 1000
        return Pipeline(Batcher(runner, limits, admission, self.metrics, wait_seconds=wait))

    @cached_property
    def heard(self) -> AudioInputs:
        """The model's inputs for one second of noise."""
        return self.reader.process(noise(_TRIED_SECONDS, self.reader.rate))

    def tried(self, compute: Compute) -> dict[str, Tensor]:
        """Returns the outputs of `compute` for one second of noise, by name and without the batch dimension."""
        outputs = AudioRunner(self.loaded, compute).compute([self.heard.tensors])
        return {name: value[0] for name, value in outputs.items()}

    @property
    def longest(self) -> float:
        """The longest recording, in seconds. Models with an input of fixed length take all that may be decoded."""
        settings = self.settings
        reads_all = self.heard.length > FRAMES_PER_SECOND * _TRIED_SECONDS
        return settings.audio_seconds if reads_all else min(settings.audio_seconds, settings.max_batch_seconds)

    @property
    def recordings(self) -> RecordingList:
        """Reads and checks the recordings of a request."""
        settings = self.settings
        return RecordingList(
            self.reader,
            settings.max_batch_items,
            settings.max_queued_seconds * FRAMES_PER_SECOND,
            settings.max_batch_seconds * FRAMES_PER_SECOND,
        )
