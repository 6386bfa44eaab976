"""What a model can be asked to find, and how it is told."""

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
from services.engine.language.texts import Truncation

Find = Callable[[dict[str, Tensor], Size, float], list[FoundObject]]
"""Returns what was found in one image, by the model's output, the image's size and the least score."""


@dataclass(frozen=True)
class Sought:
    """What a request is looking for."""

    names: Sequence[str]
    """By the index of FoundObject."""
    find: Find
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """What the model reads of it beside each image."""
    token_count: int = 0


class Vocabulary(Protocol):
    """What a model can be asked to find."""

    takes_labels: bool
    """Whether requests bring labels, at least one, or the model has its own."""
    min_score: float
    """Below it nothing is returned, unless the request says otherwise."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the outputs that `Sought.find` reads; a Compute of ImageRunner."""
        ...

    def sought(self, labels: Sequence[str], wrong: list[Violation]) -> Sought | None:
        """Returns what a request with these labels is looking for, or None and adds what is wrong to `wrong`."""
        ...


class OwnClasses:
    """A Vocabulary of the model's own classes."""

    takes_labels = False
    min_score = 0.5

    def __init__(self, loaded: LoadedVisionModel) -> None:
        self._model: Any = loaded.model
        named: dict[int, str] = loaded.config.id2label
        names = [named.get(i, f"LABEL_{i}") for i in range(max(named, default=-1) + 1)]
        self._sought = Sought(names, partial(own_objects, loaded.processor))

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """See Vocabulary."""
        output = self._model(**batch)
        return {"logits": output.logits, "boxes": output.pred_boxes}

    def sought(self, labels: Sequence[str], wrong: list[Violation]) -> Sought | None:  # noqa: ARG002 - there are none
        """See Vocabulary."""
        return self._sought


class SeparateLabels:
    """A Vocabulary of any words; each label is read by itself. A box may have several labels."""

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
        return likely_pairs(output["scores"], pixel_boxes(self._processor, output["boxes"], size), min_score)


class JoinedLabels:
    """A Vocabulary of any words; all labels are read as one text. A box has the label that fits it best."""

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
            scores = label_scores(output["scores"], phrases.places)
            return likeliest_labels(scores, pixel_boxes(self._processor, output["boxes"], size), min_score)

        return Sought(labels, find, phrases.tensors, len(phrases.tensors["input_ids"]))


_VOCABULARIES: dict[str, Callable[[LoadedVisionModel], Vocabulary]] = {
    "owlvit": SeparateLabels,
    "owlv2": SeparateLabels,
    "grounding-dino": JoinedLabels,
    "mm-grounding-dino": JoinedLabels,
}


def open_vocabulary(loaded: LoadedVisionModel) -> Vocabulary:
    """Returns how a model is told what to look for.

    Raises:
        ModelRefused: that is not known here.
    """
    kind: str = loaded.config.model_type
    if kind not in _VOCABULARIES:
        known = ", ".join(_VOCABULARIES)
        raise ModelRefused(f"How models of the kind {kind} read labels is not known here. Known are {known}.")
    return _VOCABULARIES[kind](loaded)
