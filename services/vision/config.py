"""Settings of the vision service."""

from typing import Literal

from pydantic import Field

from sensorium.rpc import Port
from services.settings import ModelSettings


class VisionSettings(ModelSettings):
    """Serves one vision model over gRPC."""

    port: Port = Field(50052, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: Port = Field(9052, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    task: Literal[
        "auto",
        "classify",
        "zero-shot-classify",
        "detect",
        "zero-shot-detect",
        "segment",
        "estimate-depth",
        "transform",
        "embed",
    ] = Field("auto", description="Task to serve; auto is the one that the checkpoint was trained for.")
    media_bytes: int = Field(16 * 1024 * 1024, ge=1, description="Bytes of one image's file.")
    image_pixels: int = Field(36_000_000, ge=1, description="Pixels of one image, checked before it is decoded.")
    transform_pixels: int = Field(
        1_000_000, ge=1, description="Pixels of one image for TransformImage, whose models compute at full resolution."
    )
    max_queued_images: int = Field(1024, ge=1, description="Images that may wait, counted in 224 × 224 pixels.")
    max_batch_images: int = Field(
        64, ge=1, description="Images of a batch, counted in 224 × 224 pixels; also the limit of one image's inputs."
    )
