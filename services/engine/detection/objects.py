"""Objects with scores and boxes in pixels."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

_TELLS_MORE = ("PPDocLayoutV2ImageProcessor", "PPDocLayoutV3ImageProcessor", "PPDocLayoutV4ImageProcessor")
"""Tell outlines, and in which order objects are read, too, by OpenCV; scores and boxes are RT-DETR's."""

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class FoundObject:
    """One object."""

    label: int
    """Index of its label."""
    score: float
    box: tuple[float, float, float, float]
    """Left, upper, right and lower edge in pixels."""


def own_objects(processor: Any, output: dict[str, Tensor], size: Size, min_score: float) -> list[FoundObject]:
    """Returns objects of the model's own classes, as its processor reads `logits` and `boxes` of one image."""
    if type(processor).__name__ in _TELLS_MORE:
        processor = RTDetrImageProcessorPil()
    scaled = SimpleNamespace(logits=output["logits"][None], pred_boxes=output["boxes"][None])
    # The processor keeps what is above its threshold; here the threshold itself is enough.
    below = float(np.nextafter(np.float32(min_score), np.float32(-math.inf)))
    (found,) = processor.post_process_object_detection(scaled, threshold=below, target_sizes=[size])
    return listed(found["scores"], found["labels"], found["boxes"])


def pixel_boxes(processor: Any, boxes: Tensor, size: Size) -> Tensor:
    """Returns the boxes `[boxes, 4]` of a model in pixels, as its processor scales them."""
    scaled = SimpleNamespace(logits=boxes.new_zeros(1, len(boxes), 1), pred_boxes=boxes[None])
    (found,) = processor.post_process_object_detection(scaled, threshold=-1.0, target_sizes=[size])
    return found["boxes"]


def listed(scores: Tensor, labels: Tensor, boxes: Tensor) -> list[FoundObject]:
    """Returns one object for each score, label and box."""
    return [
        FoundObject(label, score, (x_min, y_min, x_max, y_max))
        for score, label, (x_min, y_min, x_max, y_max) in zip(
            scores.tolist(), labels.tolist(), boxes.tolist(), strict=True
        )
    ]


def likely_pairs(scores: Tensor, boxes: Tensor, min_score: float) -> list[FoundObject]:
    """Returns an object for each score `[boxes, labels]` that is high enough: a box may have several labels."""
    places, labels = (scores >= min_score).nonzero(as_tuple=True)
    return listed(scores[places, labels], labels, boxes[places])


def likeliest_labels(scores: Tensor, boxes: Tensor, min_score: float) -> list[FoundObject]:
    """Returns an object for each box whose likeliest label is likely enough, by scores `[boxes, labels]`."""
    best, labels = scores.max(-1)
    kept = best >= min_score
    return listed(best[kept], labels[kept], boxes[kept])


def best_objects(found: Iterable[FoundObject], size: Size, most: int | None) -> list[FoundObject]:
    """Returns the objects by score, the highest first, at most so many, cut to the image; none that lies outside."""
    height, width = size
    inside = []
    for each in found:
        x_min, y_min, x_max, y_max = each.box
        box = (max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(width)), min(y_max, float(height)))
        if box[0] < box[2] and box[1] < box[3]:
            inside.append(FoundObject(each.label, each.score, box))
    return sorted(inside, key=lambda each: -each.score)[:most]
