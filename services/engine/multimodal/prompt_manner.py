"""The ways in which processors compose prompts and inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.engine.multimodal.kind import MediaKind


@dataclass(frozen=True)
class PromptManner:
    """How a processor composes prompts, which must be reproduced exactly."""

    lays_out: bool = False
    """It changes texts beyond the places of media, as PaliGemma's does."""
    needs_image: bool = False
    """It writes no prompt without an image, as PaliGemma's does not."""
    shares_edges: bool = False
    """It writes one token between images that touch, and a space between an image and a word, as Idefics2's does."""
    encloses: bool = False
    """It accepts a medium only between a begin and an end token, as HunyuanOCR's does."""
    numbers: bool = False
    """It writes the number of each image into its replacement, as MiniCPM-V's does."""
    begins: tuple[int, ...] = ()
    """Tokens before every text that does not begin with them: the tokenizer's, or those of Molmo 2's processor."""
    ends: tuple[int, ...] = ()
    """Tokens after every text: Chameleon's end a turn."""
    axes: Mapping[str, int] = field(default_factory=dict[str, int])
    """The axes of inputs that it does not concatenate along the first, as MiniCPM-V's does."""
    beside: bool = False
    """It prepares an image beside others differently than alone, as LLaVA-OneVision's does."""
    alone: frozenset[MediaKind] = frozenset()
    """The kinds of which a prompt has one medium at most, as it prepares several differently than each alone."""
