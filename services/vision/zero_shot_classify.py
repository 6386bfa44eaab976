"""The verb ClassifyImage by labels in the request."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.images.joint import JointModel, TextInputs
from services.engine.known_texts import KnownText, KnownTexts
from services.engine.label_list import wrong_labels, wrong_top_k
from services.engine.label_scores import ranked
from services.engine.probabilities import probabilities
from services.vision.ask import ClassifyAsk, Labelled
from services.vision.image_list import ImageList

DEFAULT_TEMPLATE = "This is a photo of {}."
PLACE = "{}"
MOST_LABELS = 1000
_MOST_CHARACTERS = 1000
_KNOWN_TEXTS = 4096


class ZeroShotClassifier:
    """Classifies batches; a batch is done whole or not at all."""

    takes_labels = True

    def __init__(self, pipeline: Pipeline, joint: JointModel, images: ImageList) -> None:
        self._pipeline = pipeline
        self._joint = joint
        self._images = images
        self._known = KnownTexts(_KNOWN_TEXTS)

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each image.

        Raises:
            InvalidArgument: an image, a label or an option is wrong.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: ClassifyAsk) -> Prepared[Sequence[Labelled]]:
        wrong = [*ask.input.violations, *wrong_top_k(ask.top_k)]
        template = DEFAULT_TEMPLATE if ask.hypothesis_template is None else ask.hypothesis_template
        if template.count(PLACE) != 1 or len(template) > _MOST_CHARACTERS:
            wrong.append(
                Violation("hypothesis_template", f"must hold `{PLACE}` once, in at most {_MOST_CHARACTERS} characters")
            )
            template = PLACE  # or each of many labels would be put into something long, or into it many times
        sentences = [template.replace(PLACE, label) for label in ask.labels]
        known, new = self._read(ask.labels, sentences, wrong)
        images = self._images.read(ask.input.images, wrong, deadline=ask.input.deadline)
        if wrong:
            raise InvalidArgument(wrong)

        def finish(outputs: Sequence[Any]) -> Sequence[Labelled]:
            vectors = [output["vector"] for output in outputs]
            for (sentence, text), vector in zip(new.items(), vectors[len(images) :], strict=True):
                known[sentence] = KnownText(vector, text.token_count)
                self._known.put(sentence, known[sentence])
            texts = torch.stack([known[sentence].vector for sentence in sentences])
            return [self._labelled(row, ask) for row in self._joint.logits(torch.stack(vectors[: len(images)]), texts)]

        items = [Item(each, each.length, each.kind) for each in (*images, *new.values())]
        tokens = sum((known.get(sentence) or new[sentence]).token_count for sentence in sentences)
        return Prepared(items, finish, input_tokens=tokens, images=len(images))

    def _read(
        self, labels: Sequence[str], sentences: Sequence[str], wrong: list[Violation]
    ) -> tuple[dict[str, KnownText], dict[str, TextInputs]]:
        """Returns the sentences whose vectors are known, and the others as the model reads them.

        Adds what is wrong to `wrong`.
        """
        known: dict[str, KnownText] = {}
        new: dict[str, TextInputs] = {}
        wrong += (labels_wrong := wrong_labels(labels, MOST_LABELS))
        if len(labels) > MOST_LABELS:
            return known, new  # so many are not looked at
        passed_over = {violation.field for violation in labels_wrong}
        for i, sentence in enumerate(sentences):
            if f"labels[{i}]" in passed_over:
                continue
            if (found := self._known.get(sentence)) is not None:
                known[sentence] = found
            else:
                try:
                    new[sentence] = self._joint.read(sentence, field=f"labels[{i}]")
                except InvalidArgument as error:
                    wrong += error.violations
        return known, new

    def _labelled(self, logits: Tensor, ask: ClassifyAsk) -> Labelled:
        multi_label = self._joint.independent if ask.multi_label is None else ask.multi_label
        scores = logits if ask.raw_scores else probabilities(logits, multi_label=multi_label)
        return ranked(ask.labels, scores.tolist(), ask.top_k)
