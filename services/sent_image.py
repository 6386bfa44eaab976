"""An image as it was sent."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SentImage:
    """The file of one image, or what is wrong with how it was sent."""

    data: bytes
    media_type: str
    """What it was declared as; empty if nothing was."""
    wrong: str = ""
