"""What the speech service can be told."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from sensorium.rpc import Port
from services.generation.settings import GenerationSettings


class SpeechSettings(GenerationSettings):
    """Serves one model that reads or writes audio over gRPC. What is said of generation is for models that generate."""

    port: Port = Field(50053, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: Port = Field(9053, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    task: Literal["auto", "transcribe", "synthesize", "classify", "zero-shot-classify", "embed"] = Field(
        "auto", description="What to serve where a checkpoint can do several things; auto is what it was made for."
    )
    media_bytes: int = Field(30 * 1024 * 1024, ge=1, description="Bytes of one recording's file.")
    audio_seconds: float = Field(3600, gt=0, description="Length of one recording, checked before it is decoded.")
    window_seconds: float = Field(
        30, ge=1, description="Length of the pieces in which a model that could read more transcribes long recordings."
    )
    max_queued_seconds: int = Field(
        7200, ge=1, description="Length of the recordings that may wait, all together; 64 kB of memory each second."
    )
    max_streams: int = Field(
        512, ge=1, description="Streams of live audio that may be open; each takes 2.5 ms of a core a second."
    )
    context_seconds: float = Field(
        2,
        ge=0,
        description="Audio before an utterance of live speech that is read with it, where a model tells which words "
        "are the utterance's own: costs time, and spares errors.",
    )
    unfinished_seconds: float = Field(
        60,
        gt=0,
        description="Speech of one stream that may wait for the model or for its caller, who is then held back.",
    )
    max_batch_seconds: int = Field(
        120, ge=1, description="Length of a batch; a recording that the model reads at once may be no longer."
    )
    vocoder: str | None = Field(
        None, description="Folder or hub id of what makes sound of a model's spectrograms or codes; absent: its own."
    )
    voices: Path | None = Field(
        None, description="Voices by name for a model that takes embeddings of speakers: vectors in safetensors."
    )
    text_characters: int = Field(5000, ge=1, description="Characters of one text to speak.")
    max_speaking: int = Field(16, ge=1, description="Texts that are spoken by turns; others wait.")
    max_unread_seconds: float = Field(
        10.0, gt=0, description="Audio that may wait for a slow reader before no further sentence of his is begun."
    )
