"""The verb ClassifyImage by the model's own labels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.images.loading import LoadedVisionModel
from services.engine.labels.label_list import wrong_top_k
from services.engine.labels.label_scores import ranked
from services.engine.labels.probabilities import probabilities
from services.vision.ask import ClassifyAsk, Labelled
from services.vision.image_list import ImageList


def compute_logits(loaded: LoadedVisionModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `logits` `[images, labels]`; a Compute of ImageRunner."""
    return {"logits": loaded.model(**batch).logits}


class ImageClassifier:
    """Classifies batches; a batch is done whole or not at all."""

    takes_labels = False

    def __init__(self, pipeline: Pipeline, loaded: LoadedVisionModel, images: ImageList) -> None:
        self._pipeline = pipeline
        self._images = images
        self._labels = loaded.labels
        kind = loaded.config.problem_type
        # As transformers' pipeline reads a configuration.
        self._regresses = kind == "regression"
        self._multi_label = kind == "multi_label_classification" or len(self._labels) == 1

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each image.

        Raises:
            InvalidArgument: an image or an option is wrong.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: ClassifyAsk) -> Prepared[Sequence[Labelled]]:
        wrong = [*ask.input.violations, *wrong_top_k(ask.top_k)]
        if ask.hypothesis_template is not None:
            wrong.append(Violation("hypothesis_template", "goes only with `labels`"))
        if ask.multi_label is not None and self._regresses:
            wrong.append(Violation("multi_label", "does not apply: the model's values are no probabilities"))
        images = self._images.read(ask.input.images, wrong, deadline=ask.input.deadline)
        if wrong:
            raise InvalidArgument(wrong)
        items = [Item(image, image.length, image.kind) for image in images]
        return Prepared(items, lambda outputs: [self._labelled(output, ask) for output in outputs], images=len(items))

    @torch.inference_mode()
    def _labelled(self, output: Any, ask: ClassifyAsk) -> Labelled:
        scores: Tensor = output["logits"]
        multi_label = self._multi_label if ask.multi_label is None else ask.multi_label
        if not (ask.raw_scores or self._regresses):
            scores = probabilities(scores, multi_label=multi_label)
        return ranked(self._labels, scores.tolist(), ask.top_k)
