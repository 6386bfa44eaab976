"""How media are refused: in words for their caller, who sees neither a decoder's messages nor its classes."""

ACCEPTED = "accepted are PNG, JPEG, WebP and GIF"


class ImageRefused(Exception):
    """An image cannot be taken. The message says what is wrong and what to do, as a violation's description does."""


class AudioRefused(Exception):
    """A recording cannot be taken. The message says what is wrong and what to do, as a violation's description does."""


class Damaged(Exception):
    """The bytes break the rules of their format. Never leaves this package."""
