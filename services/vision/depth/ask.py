"""The request and result of EstimateDepth as plain values, free of torch and protobuf."""

from dataclasses import dataclass

from services.media.ask import MediaInput


@dataclass(frozen=True)
class DepthAsk:
    """A request for the depths of one image, not validated yet."""

    input: MediaInput
    """One image."""
    as_floats: bool
    """Whether to return float32 numbers instead of a 16-bit PNG."""


@dataclass(frozen=True)
class Depth:
    """The depths of one image: float32 numbers, or a 16-bit PNG in which a depth is `offset + scale * value`."""

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
