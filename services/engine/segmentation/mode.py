"""The segmentation modes."""

from enum import Enum


class SegmentationMode(Enum):
    """What one region stands for. Names as in the contract."""

    SEMANTIC = "semantic"
    INSTANCE = "instance"
    PANOPTIC = "panoptic"
    PROMPTED = "prompted"
