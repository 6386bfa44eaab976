"""The verb ClassifyAudio by the model's own labels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.audio.loading import LoadedAudioModel
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.labels.label_list import wrong_top_k
from services.engine.labels.label_scores import ranked
from services.engine.labels.probabilities import probabilities
from services.speech.ask import ClassifyAsk, Labelled
from services.speech.recording_list import RecordingList


def compute_logits(loaded: LoadedAudioModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `logits` `[recordings, labels]`; a Compute of AudioRunner."""
    return {"logits": loaded.model(**batch).logits}


class AudioClassifier:
    """Classifies batches; a batch is done whole or not at all."""

    takes_labels = False

    def __init__(self, pipeline: Pipeline, loaded: LoadedAudioModel, recordings: RecordingList) -> None:
        self._pipeline = pipeline
        self._recordings = recordings
        self._labels = loaded.labels
        kind = loaded.config.problem_type
        # As transformers' pipeline reads a configuration.
        self._regresses = kind == "regression"
        self._multi_label = kind == "multi_label_classification"

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each recording. A model that reads so much and no more reads the beginning.

        Raises:
            InvalidArgument: a recording or an option is wrong.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: ClassifyAsk) -> Prepared[Sequence[Labelled]]:
        wrong = [*ask.input.violations, *wrong_top_k(ask.top_k)]
        if ask.hypothesis_template is not None:
            wrong.append(Violation("hypothesis_template", "goes only with `labels`"))
        if ask.multi_label is not None and self._regresses:
            wrong.append(Violation("multi_label", "does not apply: the model's values are no probabilities"))
        found = self._recordings.read(ask.input.recordings, wrong, deadline=ask.input.deadline)
        if wrong:
            raise InvalidArgument(wrong)
        items = [Item(each.inputs, each.inputs.length, each.inputs.kind) for each in found]
        return Prepared(
            items,
            lambda outputs: [self._labelled(output, ask) for output in outputs],
            audio_seconds=sum(each.seconds for each in found),
        )

    @torch.inference_mode()
    def _labelled(self, output: Any, ask: ClassifyAsk) -> Labelled:
        scores: Tensor = output["logits"]
        multi_label = self._multi_label if ask.multi_label is None else ask.multi_label
        if not (ask.raw_scores or self._regresses):
            scores = probabilities(scores, multi_label=multi_label)
        return ranked(self._labels, scores.tolist(), ask.top_k)
