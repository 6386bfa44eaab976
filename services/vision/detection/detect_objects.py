"""The verb DetectObjects. The model decides whether it finds its own classes or the labels of the request."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.detection.objects import best_objects
from services.engine.images.reader import ImageInputs, ModelInputs
from services.engine.labels.label_list import wrong_labels
from services.engine.labels.label_scores import LabelScore
from services.engine.threads.turns import give_way, hold_much
from services.vision.detection.ask import DetectAsk, DetectedObject, DetectedObjects
from services.vision.detection.vocabularies import Sought, Vocabulary
from services.vision.image_list import ImageList
from services.vision.room import Room

_TOO_MANY = "selects more objects than fit into a response: raise it, set `top_k`, or send fewer images or labels"
_OBJECT_BYTES = 35
"""Bytes of one object in a response message, not counting its label's name."""


class ObjectDetector:
    """Detects objects in the images of a request. If one image is invalid, the whole request fails."""

    def __init__(self, pipeline: Pipeline, vocabulary: Vocabulary, images: ImageList, room: Room) -> None:
        self._pipeline = pipeline
        self._vocabulary = vocabulary
        self.takes_labels = vocabulary.takes_labels
        self._images = images
        self._room = room

    async def detect(self, ask: DetectAsk) -> Answer[Sequence[DetectedObjects]]:
        """Returns the objects of each image, the highest score first.

        Raises:
            InvalidArgument: an image, a label or an option is invalid, or the objects do not fit into a response.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: DetectAsk) -> Prepared[Sequence[DetectedObjects]]:
        labels_wrong = wrong_labels(ask.labels, self._images.most)
        wrong = [*ask.input.violations, *_wrong_options(ask), *labels_wrong]
        sought = None if labels_wrong else self._vocabulary.sought(ask.labels, wrong)
        images: list[ImageInputs] = [item.inputs for item in self._images.items(ask.input, wrong).items]
        if wrong or sought is None:
            raise InvalidArgument(wrong)
        inputs = [ModelInputs(image.tensors | sought.tensors) for image in images]
        items = [Item(each, each.length, each.kind) for each in inputs]

        def finish(outputs: Sequence[dict[str, Tensor]]) -> list[DetectedObjects]:
            found: list[DetectedObjects] = []
            taken = 0
            for pair in zip(outputs, images, strict=True):
                if found:
                    hold_much()
                give_way()
                found.append(self._found(*pair, sought, ask))
                taken += sum(_OBJECT_BYTES + len(each.label.label.encode()) for each in found[-1].objects)
                if not self._room.holds(taken):
                    raise InvalidArgument([Violation("min_score", _TOO_MANY)])
            return found

        return Prepared(items, finish, sought.token_count, images=len(items))

    @torch.inference_mode()
    def _found(self, output: dict[str, Tensor], image: ImageInputs, sought: Sought, ask: DetectAsk) -> DetectedObjects:
        size = (image.height, image.width)
        min_score = self._vocabulary.min_score if ask.min_score is None else ask.min_score
        best = best_objects(sought.find(output, size, min_score), size, ask.top_k)
        objects = [
            DetectedObject(LabelScore(sought.names[found.label], found.score, found.label), found.box) for found in best
        ]
        return DetectedObjects(objects, image.width, image.height)


def _wrong_options(ask: DetectAsk) -> list[Violation]:
    wrong: list[Violation] = []
    if ask.min_score is not None and not 0 <= ask.min_score <= 1:
        wrong.append(Violation("min_score", f"must be in [0, 1], not {ask.min_score:g}"))
    if ask.top_k is not None and ask.top_k < 1:
        wrong.append(Violation("top_k", f"must be at least 1, not {ask.top_k}"))
    return wrong
