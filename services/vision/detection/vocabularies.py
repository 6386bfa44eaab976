"""Vocabularies: the labels a detection model can find, and how labels of a request are passed to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.checkpoint import ModelRefused
from services.engine.detection.objects import (
    FoundObject,
    Size,
    likeliest_labels,
    likely_pairs,
    own_objects,
    pixel_boxes,
)
from services.engine.detection.open_labels import OpenLabelModel
from services.engine.detection.phrases import compute_phrases, label_scores, read_phrases
from services.engine.encoders.reader import TextReader, embedded_tokens
from services.engine.images.loading import LoadedVisionModel
from services.engine.labels.class_names import class_names
from services.engine.language.texts import Truncation

Find = Callable[[dict[str, Tensor], Size, float], list[FoundObject]]
"""Returns the objects of one image, given the model's output for it, the image's size and the minimum score."""


@dataclass(frozen=True)
class Sought:
    """The labels that one request looks for, prepared for the model."""

    names: Sequence[str]
    """The names of the labels; `FoundObject.label` is an index into them."""
    find: Find
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """The model's inputs for the labels, added to those of each image; none for the model's own classes."""
    token_count: int = 0


class Vocabulary(Protocol):
    """The labels that a model can find: its own classes or any words."""

    takes_labels: bool
    """True if each request must bring at least one label; False if the model has its own classes."""
    min_score: float
    """Default of a request's `min_score`."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the outputs that `Sought.find` reads, batch first. For ImageRunner."""
        ...

    def sought(self, labels: Sequence[str], wrong: list[Violation]) -> Sought | None:
        """Prepares the labels of a request. Returns None if some are invalid, and appends violations to `wrong`."""
        ...


class OwnClasses:
    """The vocabulary of a model with its own classes."""

    takes_labels = False
    min_score = 0.5

    def __init__(self, loaded: LoadedVisionModel) -> None:
        self._model: Any = loaded.model
        self._sought = Sought(class_names(loaded.config.id2label), partial(own_objects, loaded.processor))

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """See Vocabulary."""
        output = self._model(**batch)
        return {"logits": output.logits, "boxes": output.pred_boxes}

    def sought(self, labels: Sequence[str], wrong: list[Violation]) -> Sought | None:  # noqa: ARG002 - there are none
        """See Vocabulary."""
        return self._sought


class SeparateLabels:
    """The vocabulary of models that encode each label by itself. One box may be found for several labels."""

    takes_labels = True
    min_score = 0.1

    def __init__(self, loaded: LoadedVisionModel) -> None:
        assert loaded.tokenizer is not None
        self._processor = loaded.processor
        self._reader = TextReader(
            loaded.tokenizer, loaded.context_tokens, advice="shorten it", vocabulary_size=embedded_tokens(loaded.model)
        )
        self._pad_id: int = loaded.tokenizer.pad_token_id or 0  # type: ignore[assignment]
        self.compute = OpenLabelModel(loaded.model).compute

    def sought(self, labels: Sequence[str], wrong: list[Violation]) -> Sought | None:
        """See Vocabulary."""
        read: list[Sequence[int]] = []
        for i, label in enumerate(labels):
            try:
                read.append(self._reader.read(label, Truncation.NONE, field=f"labels[{i}]").ids)
            except InvalidArgument as error:
                wrong += error.violations
        if len(read) < len(labels):
            return None
        width = self._reader.context_tokens
        ids = torch.tensor([[*row, *[self._pad_id] * (width - len(row))] for row in read])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in read])
        tensors = {"input_ids": ids, "attention_mask": mask}
        return Sought(labels, self._find, tensors, sum(map(len, read)))

    def _find(self, output: dict[str, Tensor], size: Size, min_score: float) -> list[FoundObject]:
        return likely_pairs(output["fits"].sigmoid(), pixel_boxes(self._processor, output["boxes"], size), min_score)


class JoinedLabels:
    """The vocabulary of models that read all labels as one text. Each box gets only its best label."""

    takes_labels = True
    min_score = 0.1

    def __init__(self, loaded: LoadedVisionModel) -> None:
        assert loaded.tokenizer is not None
        self._processor = loaded.processor
        self._reader = TextReader(
            loaded.tokenizer,
            loaded.context_tokens,
            advice="look for fewer things at once",
            vocabulary_size=embedded_tokens(loaded.model),
        )
        self.compute = partial(compute_phrases, loaded.model)

    def sought(self, labels: Sequence[str], wrong: list[Violation]) -> Sought | None:
        """See Vocabulary."""
        try:
            phrases = read_phrases(self._reader, labels)
        except InvalidArgument as error:
            wrong += error.violations
            return None

        def find(output: dict[str, Tensor], size: Size, min_score: float) -> list[FoundObject]:
            scores = label_scores(output["fits"].sigmoid(), phrases.places)
            return likeliest_labels(scores, pixel_boxes(self._processor, output["boxes"], size), min_score)

        return Sought(labels, find, phrases.tensors, len(phrases.tensors["input_ids"]))


_VOCABULARIES: dict[str, Callable[[LoadedVisionModel], Vocabulary]] = {
    "owlvit": SeparateLabels,
    "owlv2": SeparateLabels,
    "grounding-dino": JoinedLabels,
    "mm-grounding-dino": JoinedLabels,
}


def open_vocabulary(loaded: LoadedVisionModel) -> Vocabulary:
    """Returns the vocabulary of a zero-shot detection model.

    Raises:
        ModelRefused: no vocabulary is implemented for its `model_type`.
    """
    kind: str = loaded.config.model_type
    if kind not in _VOCABULARIES:
        known = ", ".join(_VOCABULARIES)
        raise ModelRefused(f"How models of the kind {kind} read labels is not known here. Known are {known}.")
    return _VOCABULARIES[kind](loaded)
