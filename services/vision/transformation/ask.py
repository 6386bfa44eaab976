"""The request and result of TransformImage as plain values, free of torch and protobuf."""

from dataclasses import dataclass

from services.media.ask import MediaInput


@dataclass(frozen=True)
class TransformAsk:
    """A request to transform one image, not validated yet."""

    input: MediaInput
    """One image."""
    media_type: str | None
    """MIME type of the new image; None: the default type."""


@dataclass(frozen=True)
class NewImage:
    """An image that a model made, encoded as a file."""

    data: bytes
    media_type: str
    width: int
    height: int
