"""Regions of random masks equal those of transformers' own postprocessing, pixel by pixel."""

import resource
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    DetrImageProcessorPil,
    Mask2FormerImageProcessorPil,
    MaskFormerImageProcessorPil,
    OneFormerImageProcessorPil,
)
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil
from transformers.utils.generic import ModelOutput

from services.engine.segmentation.instances import competing_instances, separate_instances
from services.engine.segmentation.panoptic import Thresholds, panoptic_regions
from services.engine.segmentation.queries import MaskQueries, framed
from services.engine.segmentation.region import Region
from services.engine.segmentation.semantic import semantic_regions

LABELS, QUERIES = 6, 12
SIZES = [(90, 70), (1, 1), (400, 7), (33, 500)]
PROCESSORS: dict[str, Any] = {
    "detr": DetrImageProcessorPil,
    "maskformer": MaskFormerImageProcessorPil,
    "mask2former": Mask2FormerImageProcessorPil,
    "oneformer": OneFormerImageProcessorPil,
}


pytestmark = pytest.mark.usefixtures("resizing_without_torchvision")


def smooth(*shape: int, seed: int) -> Tensor:
    """Returns smooth random maps of this shape."""
    coarse = torch.randn(1, shape[0], 4, 5, generator=torch.Generator().manual_seed(seed)) * 4
    return torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic")[0]


def queries(seed: int) -> MaskQueries:
    classes = torch.randn(QUERIES, LABELS + 1, generator=torch.Generator().manual_seed(seed)) * 3
    return MaskQueries(classes, smooth(QUERIES, 24, 32, seed=seed))


def output(name: str, made: MaskQueries) -> ModelOutput:
    names = ("logits", "pred_masks") if name == "detr" else ("class_queries_logits", "masks_queries_logits")
    return ModelOutput(zip(names, (made.classes[None].clone(), made.masks[None].clone()), strict=True))


def alike(found: Iterable[Region], wanted: Iterable[tuple[int, float | None, Any]]) -> int:
    """Asserts that the non-empty regions are equal in any order, and returns their number."""
    have = [region for region in found if region.mask.any()]
    left = [(label, score, np.asarray(mask, dtype=bool)) for label, score, mask in wanted if np.any(np.asarray(mask))]
    assert len(have) == len(left)
    for region in have:
        places = [
            place
            for place, (label, score, mask) in enumerate(left)
            if label == region.label
            and (score is None or abs(score - (region.score or 0.0)) < 1e-5)
            and np.array_equal(mask, region.mask)
        ]
        assert places, f"no region {region.label} with {region.score}"
        del left[places[0]]
    return len(have)


def of_map(found: dict[str, Any]) -> list[tuple[int, float, Any]]:
    """Returns the label, score and mask of each segment of transformers' own postprocessing."""
    return [(each["label_id"], each["score"], found["segmentation"] == each["id"]) for each in found["segments_info"]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_panoptic_regions(name: str, size: tuple[int, int]) -> None:
    found = 0
    for seed in range(6):
        made, share = queries(seed), 0.8 if seed % 2 else 0.3
        (wanted,) = PROCESSORS[name]().post_process_panoptic_segmentation(
            output(name, made), 0.4, 0.45, share, label_ids_to_fuse=set(), target_sizes=[size]
        )
        found += alike(panoptic_regions(framed(made, name), size, Thresholds(0.4, 0.45, share)), of_map(wanted))
    assert found > 5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_instances(name: str, size: tuple[int, int]) -> None:
    rule: Any = {"detr": panoptic_regions, "oneformer": competing_instances}.get(name, separate_instances)
    more = {"return_binary_maps": True} if rule is separate_instances else {}
    found = 0
    for seed in range(6):
        made = queries(seed)
        processor = PROCESSORS[name]()
        processor.class_info_file = ""  # OneFormer's must have one
        (wanted,) = processor.post_process_instance_segmentation(
            output(name, made), threshold=0.4, overlap_mask_area_threshold=0.3, target_sizes=[size], **more
        )
        whole = of_map(wanted)
        if more:
            masks = wanted["segmentation"]
            whole = [(label, score, masks[i]) for i, (label, score, _) in enumerate(whole)]
        found += alike(rule(framed(made, name), size, Thresholds(0.4, visible_share=0.3)), whole)
    assert found > 5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [*PROCESSORS, "segformer"])
def test_semantic_regions(name: str, size: tuple[int, int]) -> None:
    for seed in range(6):
        made = queries(seed)
        if name == "segformer":
            scores = smooth(LABELS, 24, 32, seed=seed)
            processor, outputs = SegformerImageProcessorPil(), ModelOutput(logits=scores[None])
        else:
            scores = framed(made, name).class_maps()
            processor, outputs = PROCESSORS[name](), output(name, made)
        (wanted,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])
        regions = list(semantic_regions(scores, size))
        assert [region.label for region in regions] == wanted.unique().tolist()
        alike(regions, [(label, None, wanted == label) for label in wanted.unique().tolist()])


def test_there_is_one_region_of_each_kind_of_background() -> None:
    for seed in range(6):
        made, size = queries(seed), (90, 70)
        apart = list(panoptic_regions(made, size, Thresholds(0.3, visible_share=0.2)))
        background = {region.label for region in apart if region.label is not None and region.label % 2}
        joined = list(panoptic_regions(made, size, Thresholds(0.3, visible_share=0.2), background))
        wanted = [(region.label, region.score, region.mask) for region in apart if region.label not in background]
        for label in background:
            parts = [region for region in apart if region.label == label]
            best = max(region.score for region in parts)  # type: ignore[type-var]
            wanted.append((label, best, np.logical_or.reduce([region.mask for region in parts])))
        alike(joined, wanted)  # type: ignore[arg-type]


def test_a_pixel_belongs_to_a_mask_from_the_threshold_on() -> None:
    made = queries(1)
    areas = [
        sum(int(region.mask.sum()) for region in separate_instances(made, (90, 70), Thresholds(0.0, threshold)))
        for threshold in (0.0, 0.2, 0.5, 0.8, 1.0)
    ]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] == QUERIES * 90 * 70
    assert areas[-1] == 0
    assert len(set(areas)) == len(areas)


def test_memory_does_not_grow_with_classes_times_pixels() -> None:
    """150 float32 maps of 3 million pixels would take 1.8 GB at once."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    regions = sum(1 for _ in semantic_regions(smooth(150, 64, 64, seed=0), (1500, 2000)))
    assert regions > 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # in KiB
