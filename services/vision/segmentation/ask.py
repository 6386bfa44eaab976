"""What passes between the servicer and the verb SegmentImage, free of torch and of protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from services.engine.segmentation.mode import SegmentationMode
from services.engine.segmentation.prompt import Prompt
from services.media.ask import MediaInput


class MaskFormat(Enum):
    """How masks are sent. Names as in the contract."""

    RUN_LENGTH = "run_length"
    PNG = "png"
    NONE = "none"


@dataclass(frozen=True)
class SegmentAsk:
    """A wish for the regions of an image, unchecked."""

    input: MediaInput
    """Of one image."""
    mode: SegmentationMode | None
    prompts: Sequence[Prompt]
    all_candidates: bool
    mask_format: MaskFormat
    min_score: float | None
    mask_threshold: float | None
    min_visible_share: float | None


@dataclass(frozen=True)
class SegmentedRegion:
    """One region, its mask as it is sent."""

    label: str | None
    label_index: int | None
    score: float | None
    box: tuple[float, float, float, float]
    """Left, upper, right and lower edge in pixels."""
    pixel_count: int
    prompt_index: int | None
    run_lengths: Sequence[int] | None = None
    png: bytes | None = None


@dataclass(frozen=True)
class SegmentedImage:
    """The regions of an image."""

    regions: Sequence[SegmentedRegion]
    mode: SegmentationMode
    width: int
    height: int
