"""Settings of the speech service."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from sensorium.rpc import Port
from services.generation.settings import GenerationSettings


class SpeechSettings(GenerationSettings):
    """Serves one audio model over gRPC. Settings of generation apply to models that generate tokens."""

    port: Port = Field(50053, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: Port = Field(9053, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    task: Literal["auto", "transcribe", "synthesize", "classify", "zero-shot-classify", "embed"] = Field(
        "auto", description="Task to serve where a checkpoint supports several; auto takes the one it was made for."
    )
    media_bytes: int = Field(30 * 1024 * 1024, ge=1, description="Largest size in bytes of one recording's file.")
    audio_seconds: float = Field(3600, gt=0, description="Longest recording, checked before it is decoded.")
    window_seconds: float = Field(
        30, ge=1, description="Longest window of audio that a model without a fixed window length transcribes at once."
    )
    max_queued_seconds: int = Field(
        7200, ge=1, description="Total length of waiting recordings; each second takes 64 kB of memory."
    )
    max_streams: int = Field(
        512, ge=1, description="Open live streams at most; each takes 2.5 ms of one core per second."
    )
    context_seconds: float = Field(
        2,
        ge=0,
        description="Audio before an utterance of live speech that the model reads with it, if it gives word times. "
        "More costs compute and reduces errors.",
    )
    unfinished_seconds: float = Field(
        60,
        gt=0,
        description="Speech of one stream that may wait for the model or the reader before no more audio is read.",
    )
    max_batch_seconds: int = Field(
        120, ge=1, description="Total length of a batch; the longest recording for a model that reads it in one pass."
    )
    vocoder: str | None = Field(
        None, description="Folder or hub id of the vocoder or audio codec; by default what the checkpoint has or names."
    )
    voices: Path | None = Field(
        None, description="Safetensors file of named voices, for models that take speaker embeddings or voice latents."
    )
    text_characters: int = Field(5000, ge=1, description="Longest text to speak, in characters.")
    max_speaking: int = Field(16, ge=1, description="Texts that are synthesized at the same time; more wait.")
    max_unread_seconds: float = Field(
        10.0, gt=0, description="Audio that may wait for a slow reader before synthesis of its next sentence waits."
    )
