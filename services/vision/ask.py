"""What passes between the servicer and the verbs, free of torch and of protobuf."""

from dataclasses import dataclass

from services.media.ask import MediaInput


@dataclass(frozen=True)
class DepthAsk:
    """A wish for the depths of one image, unchecked."""

    input: MediaInput
    as_floats: bool
    """As numbers instead of as a PNG."""


@dataclass(frozen=True)
class Depth:
    """The depths of an image, as numbers, or as a PNG whose value 0 stands for `offset`, and each step for `scale`."""

    data: bytes
    as_floats: bool
    scale: float
    offset: float
    least: float
    greatest: float
    kind: str
    """A name of the contract's DepthKind, without its prefix."""
    width: int
    height: int


@dataclass(frozen=True)
class TransformAsk:
    """A wish for a new image made of one image, unchecked."""

    input: MediaInput
    media_type: str | None
    """Of the new image."""


@dataclass(frozen=True)
class NewImage:
    """The file of an image that a model made."""

    data: bytes
    media_type: str
    width: int
    height: int
