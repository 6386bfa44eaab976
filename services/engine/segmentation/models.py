"""The segmentation modes of each kind of model, and how the model is run for them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import (
    AutoModelForMaskGeneration,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    PretrainedConfig,
)
from transformers.models.auto import modeling_auto as auto

from services.engine.checkpoint import ModelRefused
from services.engine.images.loading import LoadedVisionModel
from services.engine.images.reader import ImageInputs
from services.engine.segmentation.instances import competing_instances, separate_instances
from services.engine.segmentation.mode import SegmentationMode
from services.engine.segmentation.panoptic import Thresholds, panoptic_regions
from services.engine.segmentation.queries import MaskQueries, framed, queries_of
from services.engine.segmentation.region import Region
from services.engine.segmentation.semantic import semantic_regions
from services.engine.segmentation.upscaling import Size

_QUERY_MODELS = ("detr", "maskformer", "mask2former", "oneformer")
_PROMPTED = ("sam", "sam2", "sam2_video")  # checkpoints of SAM 2 have the model_type sam2_video


def segmentation_class(config: PretrainedConfig) -> Any:
    """Returns the Auto class that a checkpoint is loaded with.

    Raises:
        ModelRefused: its `model_type` is not supported.
    """
    kind = config.model_type
    if kind in _PROMPTED:
        return AutoModelForMaskGeneration
    if kind in _QUERY_MODELS:
        return AutoModelForUniversalSegmentation
    if kind in auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES:
        return AutoModelForSemanticSegmentation
    known = ", ".join([*_QUERY_MODELS, *_PROMPTED, *auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES])
    raise ModelRefused(f"Models of the kind {kind} are not segmented with here. Known are {known}.")


def is_prompted(config: PretrainedConfig) -> bool:
    """Returns whether the model needs prompts: points or boxes that mark the regions."""
    return config.model_type in _PROMPTED


class SegmentationModel(Protocol):
    """A model that segments the whole image, without prompts."""

    @property
    def modes(self) -> Sequence[SegmentationMode]:
        """The supported modes; the first one is the default."""
        ...

    def inputs(self, image: ImageInputs, mode: SegmentationMode) -> ImageInputs:
        """Returns the model's inputs for an image and a mode."""
        ...

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the outputs that `regions` reads, batch first. For ImageRunner."""
        ...

    def regions(
        self, output: dict[str, Tensor], mode: SegmentationMode, size: Size, thresholds: Thresholds
    ) -> Iterator[Region]:
        """Yields the regions of one image, given its output and its size as it was sent."""
        ...


class SemanticModel:
    """A SegmentationModel that gives one logit per class and pixel."""

    modes = (SegmentationMode.SEMANTIC,)

    def __init__(self, loaded: LoadedVisionModel) -> None:
        self._model: Any = loaded.model

    def inputs(self, image: ImageInputs, mode: SegmentationMode) -> ImageInputs:  # noqa: ARG002 - it has only one
        """See SegmentationModel."""
        return image

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """See SegmentationModel."""
        return {"scores": self._model(**batch).logits}

    def regions(
        self,
        output: dict[str, Tensor],
        mode: SegmentationMode,  # noqa: ARG002 - it has only one
        size: Size,
        thresholds: Thresholds,  # noqa: ARG002 - none applies
    ) -> Iterator[Region]:
        """See SegmentationModel."""
        return semantic_regions(output["scores"], size)


class QueryModel:
    """A SegmentationModel that predicts a set of masks, each with class logits."""

    modes = (SegmentationMode.PANOPTIC, SegmentationMode.INSTANCE, SegmentationMode.SEMANTIC)

    def __init__(self, loaded: LoadedVisionModel) -> None:
        self._model: Any = loaded.model
        self._kind: str = loaded.config.model_type
        self._task_tokens = _task_tokens(loaded) if self._kind == "oneformer" else {}
        self._background = _background(loaded)

    def inputs(self, image: ImageInputs, mode: SegmentationMode) -> ImageInputs:
        """See SegmentationModel."""
        if not self._task_tokens:
            return image
        return replace(image, tensors=image.tensors | {"task_inputs": self._task_tokens[mode]})

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """See SegmentationModel."""
        classes, masks = queries_of(self._model(**batch))
        return {"classes": classes, "masks": masks}

    def regions(
        self, output: dict[str, Tensor], mode: SegmentationMode, size: Size, thresholds: Thresholds
    ) -> Iterator[Region]:
        """See SegmentationModel."""
        queries = framed(MaskQueries(output["classes"], output["masks"]), self._kind)
        if mode is SegmentationMode.SEMANTIC:
            return semantic_regions(queries.class_maps(), size)
        if mode is SegmentationMode.PANOPTIC:
            return panoptic_regions(queries, size, thresholds, self._background)
        if self._kind == "detr":
            return panoptic_regions(queries, size, thresholds)
        if self._kind == "oneformer":
            return competing_instances(queries, size, thresholds)
        return separate_instances(queries, size, thresholds)


def segmentation_model(loaded: LoadedVisionModel) -> SegmentationModel:
    """Returns the SegmentationModel for a model without prompts."""
    return QueryModel(loaded) if loaded.config.model_type in _QUERY_MODELS else SemanticModel(loaded)


def _task_tokens(loaded: LoadedVisionModel) -> dict[SegmentationMode, Tensor]:
    """Returns OneFormer's task tokens for each mode, `[task_seq_len]`, padded with 0."""
    assert loaded.tokenizer is not None
    length: int = loaded.config.task_seq_len
    found: dict[SegmentationMode, Tensor] = {}
    for mode in QueryModel.modes:
        ids = loaded.tokenizer(f"the task is {mode.value}")["input_ids"][:length]
        found[mode] = torch.tensor([*ids, *[0] * (length - len(ids))])
    return found


def _background(loaded: LoadedVisionModel) -> Collection[int]:
    """Returns the background ("stuff") classes, whose masks are merged into one region. Empty if they are not known."""
    metadata: dict[str, Any] = getattr(loaded.processor, "metadata", None) or {}
    things = metadata.get("thing_ids")
    return () if things is None else set(loaded.config.id2label) - set(things)
