"""In which ways processors put prompts and inputs together."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PromptManner:
    """How prompts are put together so that they are those that the processor itself would write."""

    lays_out: bool = False
    """It writes more into a text than what it puts in the places of media, as PaliGemma's does."""
    shares_edges: bool = False
    """It writes one token between images that touch, and a space between an image and a word, as Idefics2's does."""
    encloses: bool = False
    """It takes a medium only between the tokens that begin and end one, as HunyuanOCR's does."""
    numbers: bool = False
    """It counts the images of a prompt in what it writes for them, as MiniCPM-V's does."""
    begins: tuple[int, ...] = ()
    """These tokens come before every text that does not begin so: a tokenizer's own, or Molmo 2's processor's."""
    ends: tuple[int, ...] = ()
    """These tokens come behind every text: Chameleon's, which end a turn."""
    axes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of inputs that it concatenates along another axis than the first, as MiniCPM-V's does."""
    beside: bool = False
    """It prepares an image beside others otherwise than alone, whatever these are, as LLaVA-OneVision's does."""
    most: int | None = None
    """Media of one prompt at most, where it prepares several otherwise than each alone; None: any number."""
