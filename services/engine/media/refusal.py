"""How an image is refused: in words for its caller, who sees neither a decoder's messages nor its classes."""

ACCEPTED = "accepted are PNG, JPEG, WebP and GIF"


class ImageRefused(Exception):
    """An image cannot be taken. The message says what is wrong and what to do, as a violation's description does."""


class Damaged(Exception):
    """The bytes break the rules of their format. Never leaves this package."""
