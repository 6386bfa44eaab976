"""The kinds of media in prompts."""

from enum import Enum


class MediaKind(Enum):
    """Values are those of chat templates, and of fields in the contract."""

    IMAGE = "image"
    AUDIO = "audio"
