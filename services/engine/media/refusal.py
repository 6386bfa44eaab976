"""Errors for refused media, with messages for callers instead of a decoder's own messages."""

ACCEPTED = "accepted are PNG, JPEG, WebP and GIF"


class ImageRefused(Exception):
    """An image cannot be taken. The message says what is wrong and what to do, as a violation's description does."""


class AudioRefused(Exception):
    """A recording cannot be taken. The message says what is wrong and what to do, as a violation's description does."""


class Damaged(Exception):
    """The bytes violate their format. Internal to this package."""
