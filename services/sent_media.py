"""Media as a request carries them, free of protobuf."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SentMedia:
    """The file of one image or recording, or what is wrong with how it was sent."""

    data: bytes
    media_type: str
    """What it was declared as; empty if nothing was."""
    wrong: str = ""
