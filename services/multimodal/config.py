"""Settings of the multimodal service."""

from typing import Literal

from pydantic import Field

from sensorium.rpc import Port
from services.generation.settings import ChatSettings


class MultimodalSettings(ChatSettings):
    """Serves one multimodal model over gRPC."""

    port: Port = Field(50054, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: Port = Field(9054, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    task: Literal["auto", "generate", "caption", "answer-image-question", "answer-document-question"] = Field(
        "auto", description="Task to serve; auto is the one that the checkpoint was trained for."
    )
    media_bytes: int = Field(16 * 1024 * 1024, ge=1, description="Bytes of the file of one image or recording.")
    image_pixels: int = Field(36_000_000, ge=1, description="Pixels of one image, checked before it is decoded.")
    audio_seconds: float = Field(600.0, gt=0, description="Length of one recording, in seconds.")
    max_prompt_media: int = Field(16, ge=1, description="Images and recordings in one prompt.")
    media_cache_mib: int = Field(
        256, ge=0, description="Cache of encoded images and recordings, in MiB, for prompts that repeat them."
    )
    max_image_tiles: int = Field(
        256, ge=1, description="Limit of the model's inputs for one image, counted in 224 × 224 pixels."
    )
    max_queued_images: int = Field(
        1024, ge=1, description="Images that may wait, counted in 224 × 224 pixels, for models that do not generate."
    )
    max_batch_images: int = Field(
        64, ge=1, description="Images of a batch, counted in 224 × 224 pixels, for models that do not generate."
    )
    max_batch_tokens: int = Field(
        16_384, ge=1, description="Tokens of a batch, padding included, for models that do not generate."
    )
