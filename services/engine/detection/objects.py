"""Detected objects with scores and boxes in pixels."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

_WITH_POLYGONS = ("PPDocLayoutV2ImageProcessor", "PPDocLayoutV3ImageProcessor", "PPDocLayoutV4ImageProcessor")
"""Their postprocessing also gives polygons and reading order, with OpenCV. Scores and boxes are as RT-DETR's."""

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class FoundObject:
    """One detected object."""

    label: int
    """Index of its label."""
    score: float
    box: tuple[float, float, float, float]
    """`(x_min, y_min, x_max, y_max)` in pixels of the image as it was sent."""


def own_objects(processor: Any, output: dict[str, Tensor], size: Size, min_score: float) -> list[FoundObject]:
    """Returns objects of the model's own classes; its processor decodes `logits` and `boxes` of one image."""
    if type(processor).__name__ in _WITH_POLYGONS:
        processor = RTDetrImageProcessorPil()
    scaled = SimpleNamespace(logits=output["logits"][None], pred_boxes=output["boxes"][None])
    # Some processors keep only the best 100 unless told otherwise.
    told = signature(processor.post_process_object_detection).parameters.get("top_k")
    every = {} if told is None or told.default is None else {"top_k": output["logits"].numel()}
    # The processor keeps scores above its threshold; here a score equal to `min_score` is kept too.
    below = float(np.nextafter(np.float32(min_score), np.float32(-math.inf)))
    (found,) = processor.post_process_object_detection(scaled, threshold=below, target_sizes=[size], **every)
    return listed(found["scores"], found["labels"], found["boxes"])


def pixel_boxes(processor: Any, boxes: Tensor, size: Size) -> Tensor:
    """Returns a model's boxes, `[boxes, 4]`, scaled by its processor to `(x_min, y_min, x_max, y_max)` in pixels."""
    scaled = SimpleNamespace(logits=boxes.new_zeros(1, len(boxes), 1), pred_boxes=boxes[None])
    (found,) = processor.post_process_object_detection(scaled, threshold=-1.0, target_sizes=[size])
    return found["boxes"]


def listed(scores: Tensor, labels: Tensor, boxes: Tensor) -> list[FoundObject]:
    """Returns an object for each score `[n]`, label `[n]` and box `[n, 4]`."""
    return [
        FoundObject(label, score, (x_min, y_min, x_max, y_max))
        for score, label, (x_min, y_min, x_max, y_max) in zip(
            scores.tolist(), labels.tolist(), boxes.tolist(), strict=True
        )
    ]


def likely_pairs(scores: Tensor, boxes: Tensor, min_score: float) -> list[FoundObject]:
    """Returns an object for each score `[boxes, labels]` of at least `min_score`. A box may have several labels."""
    places, labels = (scores >= min_score).nonzero(as_tuple=True)
    return listed(scores[places, labels], labels, boxes[places])


def likeliest_labels(scores: Tensor, boxes: Tensor, min_score: float) -> list[FoundObject]:
    """Returns each box with its best label by scores `[boxes, labels]`, if that scores at least `min_score`."""
    best, labels = scores.max(-1)
    kept = best >= min_score
    return listed(best[kept], labels[kept], boxes[kept])


def best_objects(found: Iterable[FoundObject], size: Size, most: int | None) -> list[FoundObject]:
    """Returns the `most` objects with the highest scores (None: all), best first.

    Boxes are clipped to the image; objects outside are dropped.
    """
    height, width = size
    inside = []
    for each in found:
        x_min, y_min, x_max, y_max = each.box
        box = (max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(width)), min(y_max, float(height)))
        if box[0] < box[2] and box[1] < box[3]:
            inside.append(FoundObject(each.label, each.score, box))
    return sorted(inside, key=lambda each: -each.score)[:most]
