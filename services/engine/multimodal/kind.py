"""The kinds of media in prompts."""

from enum import Enum


class MediaKind(Enum):
    """The values are the names in chat templates and in the contract."""

    IMAGE = "image"
    AUDIO = "audio"
