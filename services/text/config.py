"""What the text service can be told."""

from typing import Literal

from pydantic import Field

from sensorium.rpc import Port
from services.generation.settings import GenerationSettings


class TextSettings(GenerationSettings):
    """Serves one text model over gRPC."""

    port: Port = Field(50051, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: Port = Field(9051, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    task: Literal["auto", "generate", "embed", "classify", "classify-tokens", "answer-question", "fill-mask"] = Field(
        "auto", description="What to serve where a checkpoint can do several things; auto is what it was made for."
    )
    tensor_parallel: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs of this machine that a generating model is divided among, by its own plan; 1: one has all.",
    )
    max_batch_tokens: int = Field(
        16_384, ge=1, description="Tokens of a batch, padding included, for models that read once and answer."
    )
