"""Masks with their classes, however an architecture calls them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

_MASK2FORMER_SIZE = (384, 384)
"""At which Mask2Former's masks are read, whatever they were computed at."""


@dataclass(frozen=True)
class MaskQueries:
    """What a model proposes: masks, each with a class."""

    classes: Tensor
    """Logits `[queries, classes + 1]` in float32; the last class is none."""
    masks: Tensor
    """Logits `[queries, height, width]` in float32."""

    def class_maps(self) -> Tensor:
        """Returns how much speaks for each class at each place, `[classes, height, width]`."""
        return torch.einsum("qc,qhw->chw", self.classes.softmax(-1)[:, :-1], self.masks.sigmoid())


def queries_of(output: Any) -> tuple[Tensor, Tensor]:
    """Returns class logits and mask logits of a batch, `[items, ...]` both."""
    if "class_queries_logits" in output:
        return output.class_queries_logits, output.masks_queries_logits
    return output.logits, output.pred_masks


def framed(queries: MaskQueries, model_type: str) -> MaskQueries:
    """Returns the masks at the size at which this kind of model has them read."""
    if model_type != "mask2former":
        return queries
    size = _MASK2FORMER_SIZE
    masks = interpolate(queries.masks[None], size=size, mode="bilinear", align_corners=False)[0]
    return MaskQueries(queries.classes, masks)
