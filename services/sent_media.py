"""Media as they were sent, free of protobuf."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SentMedia:
    """The file of one image or recording, or what is wrong with how it was sent."""

    data: bytes
    media_type: str
    """The declared media type; empty if none was declared."""
    wrong: str = ""
