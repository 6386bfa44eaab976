"""The common part of the verbs ClassifyImage and ClassifyAudio."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.joint import JointModel
from services.engine.labels.label_list import wrong_top_k
from services.engine.labels.label_scores import ranked
from services.engine.labels.label_sentences import LabelSentences
from services.engine.labels.probabilities import probabilities
from services.media.ask import ClassifyAsk, Labelled
from services.media.media_list import MediaList


class OwnLabelClassifier:
    """Classifies batches by the model's own labels; a batch is done whole or not at all."""

    takes_labels = False

    def __init__(
        self, pipeline: Pipeline, media: MediaList, labels: Sequence[str], *, regresses: bool, multi_label: bool
    ) -> None:
        """`regresses` says that the model's values are no logits, and so not turned into probabilities."""
        self._pipeline = pipeline
        self._media = media
        self._labels = labels
        self._regresses = regresses
        self._multi_label = multi_label

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each image or recording. Of a recording too long for the model, its beginning is read.

        Raises:
            InvalidArgument: one of the media or an option is wrong.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: ClassifyAsk) -> Prepared[Sequence[Labelled]]:
        wrong = [*ask.input.violations, *wrong_top_k(ask.top_k)]
        if ask.hypothesis_template is not None:
            wrong.append(Violation("hypothesis_template", "goes only with `labels`"))
        if ask.multi_label is not None and self._regresses:
            wrong.append(Violation("multi_label", "does not apply: the model's values are no probabilities"))
        read = self._media.items(ask.input, wrong)
        if wrong:
            raise InvalidArgument(wrong)
        return Prepared(
            read.items,
            lambda outputs: [self._labelled(output, ask) for output in outputs],
            images=read.images,
            audio_seconds=read.audio_seconds,
        )

    @torch.inference_mode()
    def _labelled(self, output: Any, ask: ClassifyAsk) -> Labelled:
        scores: Tensor = output["logits"]
        multi_label = self._multi_label if ask.multi_label is None else ask.multi_label
        if not (ask.raw_scores or self._regresses):
            scores = probabilities(scores, multi_label=multi_label)
        return ranked(self._labels, scores.tolist(), ask.top_k)


class AnyLabelClassifier:
    """Classifies batches by labels in the request; a batch is done whole or not at all."""

    takes_labels = True

    def __init__(self, pipeline: Pipeline, joint: JointModel, media: MediaList, template: str) -> None:
        """`template` is the default hypothesis template: the sentence that labels are put into."""
        self._pipeline = pipeline
        self._joint = joint
        self._media = media
        self._sentences = LabelSentences(joint, template)

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each image or recording. Of a recording too long for the model, its beginning is read.

        Raises:
            InvalidArgument: one of the media, a label or an option is wrong.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: ClassifyAsk) -> Prepared[Sequence[Labelled]]:
        wrong = [*ask.input.violations, *wrong_top_k(ask.top_k)]
        sentences = self._sentences.read(ask.labels, ask.hypothesis_template, wrong)
        read = self._media.items(ask.input, wrong)
        if wrong:
            raise InvalidArgument(wrong)

        def finish(outputs: Sequence[Any]) -> Sequence[Labelled]:
            count = len(read.items)
            texts = self._sentences.vectors(sentences, outputs[count:])
            vectors = torch.stack([output["vector"] for output in outputs[:count]])
            return [self._labelled(row, ask) for row in self._joint.logits(vectors, texts)]

        items = [*read.items, *(Item(text, text.length, text.kind) for text in sentences.new.values())]
        return Prepared(items, finish, sentences.token_count, read.images, read.audio_seconds)

    def _labelled(self, logits: Tensor, ask: ClassifyAsk) -> Labelled:
        multi_label = self._joint.independent if ask.multi_label is None else ask.multi_label
        scores = logits if ask.raw_scores else probabilities(logits, multi_label=multi_label)
        return ranked(ask.labels, scores.tolist(), ask.top_k)
