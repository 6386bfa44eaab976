"""The request and result of SegmentImage as plain values, free of torch and protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from services.engine.segmentation.mode import SegmentationMode
from services.engine.segmentation.prompt import Prompt
from services.media.ask import MediaInput


class MaskFormat(Enum):
    """How masks are encoded in the response. Names as in the contract."""

    RUN_LENGTH = "run_length"
    PNG = "png"
    NONE = "none"


@dataclass(frozen=True)
class SegmentAsk:
    """A request to segment one image, not validated yet. None in an option means the model's default."""

    input: MediaInput
    """One image."""
    mode: SegmentationMode | None
    prompts: Sequence[Prompt]
    all_candidates: bool
    mask_format: MaskFormat
    min_score: float | None
    mask_threshold: float | None
    min_visible_share: float | None


@dataclass(frozen=True)
class SegmentedRegion:
    """One region with its encoded mask; `run_lengths`, `png` or neither is set, as the request's MaskFormat says."""

    label: str | None
    label_index: int | None
    score: float | None
    box: tuple[float, float, float, float]
    """`(x_min, y_min, x_max, y_max)` in pixels."""
    pixel_count: int
    prompt_index: int | None
    run_lengths: Sequence[int] | None = None
    png: bytes | None = None


@dataclass(frozen=True)
class SegmentedImage:
    """The regions of one image, whose size is in pixels."""

    regions: Sequence[SegmentedRegion]
    mode: SegmentationMode
    width: int
    height: int
