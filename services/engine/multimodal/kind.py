"""Kinds of what may stand in a prompt beside text."""

from enum import Enum


class MediaKind(Enum):
    """Values are those of chat templates, and of fields in the contract."""

    IMAGE = "image"
    AUDIO = "audio"
