"""What the text service can be told."""

from typing import Literal

from pydantic import Field

from sensorium.rpc import Port
from services.settings import ModelSettings


class TextSettings(ModelSettings):
    """Serves one text model over gRPC."""

    port: Port = Field(50051, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: Port = Field(9051, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    task: Literal["auto", "generate", "embed", "classify", "classify-tokens", "answer-question", "fill-mask"] = Field(
        "auto", description="What to serve where a checkpoint can do several things; auto is what it was made for."
    )
    max_sequences: int = Field(
        32, ge=1, le=1024, description="Sequences that share a step at most; each candidate and each beam is one."
    )
    prefill_tokens: int = Field(2048, ge=16, description="Prompt tokens worked on per step at most.")
    decode_slowdown: float = Field(
        1.5, gt=1, description="How many times as long a step may take for a prompt that waits beside running streams."
    )
    prefix_cache: bool = Field(
        True, description="Starts a request behind what earlier ones with its beginning computed."
    )
    cache_mib: int = Field(
        1024, ge=1, description="Memory for what sequences keep, keys and values above all, at most."
    )
    max_queued_tokens: int = Field(262_144, ge=1, description="Prompt tokens that may wait.")
    max_unread_tokens: int = Field(1024, ge=1, description="Generated tokens that may wait for a slow reader.")
    max_batch_tokens: int = Field(
        16_384, ge=1, description="Tokens of a batch, padding included, for models that read once and answer."
    )
