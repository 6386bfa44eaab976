"""The verb ClassifyImage by labels in the request."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.joint import JointModel
from services.engine.labels.label_list import wrong_top_k
from services.engine.labels.label_scores import ranked
from services.engine.labels.label_sentences import LabelSentences
from services.engine.labels.probabilities import probabilities
from services.vision.ask import ClassifyAsk, Labelled
from services.vision.image_list import ImageList

DEFAULT_TEMPLATE = "This is a photo of {}."


class ZeroShotClassifier:
    """Classifies batches; a batch is done whole or not at all."""

    takes_labels = True

    def __init__(self, pipeline: Pipeline, joint: JointModel, images: ImageList) -> None:
        self._pipeline = pipeline
        self._joint = joint
        self._images = images
        self._sentences = LabelSentences(joint, DEFAULT_TEMPLATE)

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each image.

        Raises:
            InvalidArgument: an image, a label or an option is wrong.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: ClassifyAsk) -> Prepared[Sequence[Labelled]]:
        wrong = [*ask.input.violations, *wrong_top_k(ask.top_k)]
        sentences = self._sentences.read(ask.labels, ask.hypothesis_template, wrong)
        images = self._images.read(ask.input.images, wrong, deadline=ask.input.deadline)
        if wrong:
            raise InvalidArgument(wrong)

        def finish(outputs: Sequence[Any]) -> Sequence[Labelled]:
            texts = self._sentences.vectors(sentences, outputs[len(images) :])
            vectors = torch.stack([output["vector"] for output in outputs[: len(images)]])
            return [self._labelled(row, ask) for row in self._joint.logits(vectors, texts)]

        items = [Item(each, each.length, each.kind) for each in (*images, *sentences.new.values())]
        return Prepared(items, finish, input_tokens=sentences.token_count, images=len(images))

    def _labelled(self, logits: Tensor, ask: ClassifyAsk) -> Labelled:
        multi_label = self._joint.independent if ask.multi_label is None else ask.multi_label
        scores = logits if ask.raw_scores else probabilities(logits, multi_label=multi_label)
        return ranked(ask.labels, scores.tolist(), ask.top_k)
