"""Mask queries: predicted masks and class logits, under one name for all architectures."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

_MASK2FORMER_SIZE = (384, 384)
"""Size that Mask2Former's postprocessing first resizes all masks to."""


@dataclass(frozen=True)
class MaskQueries:
    """The masks that a model predicts for one image, each with class logits."""

    classes: Tensor
    """Logits `[queries, classes + 1]` in float32; the last class is "no object"."""
    masks: Tensor
    """Logits `[queries, height, width]` in float32."""

    def class_maps(self) -> Tensor:
        """Returns the score of each class at each pixel, `[classes, height, width]`."""
        return torch.einsum("qc,qhw->chw", self.classes.softmax(-1)[:, :-1], self.masks.sigmoid())


def queries_of(output: Any) -> tuple[Tensor, Tensor]:
    """Returns the class logits and mask logits of a batch, both `[items, ...]`."""
    if "class_queries_logits" in output:
        return output.class_queries_logits, output.masks_queries_logits
    return output.logits, output.pred_masks


def framed(queries: MaskQueries, model_type: str) -> MaskQueries:
    """Returns the queries with masks at the size that this model type's postprocessing works at."""
    if model_type != "mask2former":
        return queries
    size = _MASK2FORMER_SIZE
    masks = interpolate(queries.masks[None], size=size, mode="bilinear", align_corners=False)[0]
    return MaskQueries(queries.classes, masks)
