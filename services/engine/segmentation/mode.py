"""What a region is."""

from enum import Enum


class SegmentationMode(Enum):
    """Names as in the contract."""

    SEMANTIC = "semantic"
    INSTANCE = "instance"
    PANOPTIC = "panoptic"
    PROMPTED = "prompted"
