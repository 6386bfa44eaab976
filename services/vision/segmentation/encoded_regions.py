"""Encodes the masks of regions for the response."""

from collections.abc import Iterable, Mapping

import numpy as np

from sensorium.errors import InvalidArgument, Violation
from services.engine.media.masks import bounding_box, mask_png, pixel_count, run_lengths
from services.engine.segmentation.region import Region
from services.engine.threads.turns import give_way
from services.vision.segmentation.ask import MaskFormat, SegmentedRegion

_OTHER_BYTES = 64
"""Bytes of one region in a response message, not counting its mask."""


def encoded_regions(
    regions: Iterable[Region], names: Mapping[int, str], mask_format: MaskFormat, most_bytes: int
) -> list[SegmentedRegion]:
    """Returns the non-empty regions, sorted by prompt, then by descending score, then by label.

    `regions` is consumed lazily, so that only one unencoded mask is in memory at a time.

    Raises:
        InvalidArgument: the encoded regions take more than `most_bytes`.
    """
    found: list[SegmentedRegion] = []
    taken = 0
    for region in regions:
        give_way()
        if not (pixels := pixel_count(region.mask)):
            continue
        lengths = run_lengths(region.mask) if mask_format is MaskFormat.RUN_LENGTH else None
        png = mask_png(region.mask) if mask_format is MaskFormat.PNG else None
        taken += _OTHER_BYTES + _message_bytes(lengths or ()) + len(png or b"")
        if taken > most_bytes:
            raise InvalidArgument([
                Violation("mask_format", "makes masks that are more than a message may hold; raise `min_score`, send a "
                          "smaller image, or ask for MASK_FORMAT_PNG or MASK_FORMAT_NONE")
            ])  # fmt: skip
        label = None if region.label is None else names.get(region.label, f"LABEL_{region.label}")
        box = bounding_box(region.mask)
        found.append(SegmentedRegion(label, region.label, region.score, box, pixels, region.prompt, lengths, png))
    return sorted(found, key=lambda each: (each.prompt_index or 0, -(each.score or 0.0), each.label_index or 0))


def _message_bytes(lengths: Iterable[int]) -> int:
    """Returns the size of the numbers as protobuf varints: one byte for each seven bits."""
    values = np.fromiter(lengths, dtype=np.int64)
    return int(sum((values >= bound).sum() for bound in (0, 1 << 7, 1 << 14, 1 << 21, 1 << 28)))
