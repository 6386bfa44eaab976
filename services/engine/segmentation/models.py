"""Which modes a model can do, and how it is run for them."""

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
_PROMPTED = ("sam", "sam2", "sam2_video")  # the last is what checkpoints of SAM 2 call themselves


def segmentation_class(config: PretrainedConfig) -> Any:
    """Returns the Auto class that a checkpoint is loaded by.

    Raises:
        ModelRefused: it is of a kind that is not known here.
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
    """Returns whether the model is shown where the regions are."""
    return config.model_type in _PROMPTED


class SegmentationModel(Protocol):
    """A model that divides images without being told where to look."""

    @property
    def modes(self) -> Sequence[SegmentationMode]:
        """What it can do; first what it does unless a request says otherwise."""
        ...

    def inputs(self, image: ImageInputs, mode: SegmentationMode) -> ImageInputs:
        """Returns what the model reads to divide the image in that way."""
        ...

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns what `regions` reads; a Compute of ImageRunner."""
        ...

    def regions(
        self, output: dict[str, Tensor], mode: SegmentationMode, size: Size, thresholds: Thresholds
    ) -> Iterator[Region]:
        """Yields the regions of one image."""
        ...


class SemanticModel:
    """A SegmentationModel that scores every class at every place."""

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
    """A SegmentationModel that proposes masks, each with a class."""

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
    """Returns what a model can do that finds regions by itself."""
    return QueryModel(loaded) if loaded.config.model_type in _QUERY_MODELS else SemanticModel(loaded)


def _task_tokens(loaded: LoadedVisionModel) -> dict[SegmentationMode, Tensor]:
    """Returns how OneFormer is told what to do."""
    assert loaded.tokenizer is not None
    length: int = loaded.config.task_seq_len
    found: dict[SegmentationMode, Tensor] = {}
    for mode in QueryModel.modes:
        ids = loaded.tokenizer(f"the task is {mode.value}")["input_ids"][:length]
        found[mode] = torch.tensor([*ids, *[0] * (length - len(ids))])
    return found


def _background(loaded: LoadedVisionModel) -> Collection[int]:
    """Returns the classes of which there is one region at most, where the processor's files tell."""
    metadata: dict[str, Any] = getattr(loaded.processor, "metadata", None) or {}
    things = metadata.get("thing_ids")
    return () if things is None else set(loaded.config.id2label) - set(things)
