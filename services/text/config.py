"""What the text service can be told."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sensorium.rpc import Port, ServerSettings

Device = Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
"""`auto` is the first GPU, or the CPU where there is none."""


class TextSettings(ServerSettings):
    """Serves one language model over gRPC."""

    model: str = Field(description="Folder of a checkpoint, or id of a model on the Hugging Face hub.")
    revision: str | None = Field(None, description="Commit, branch or tag on the hub; absent: the main branch.")
    name: str | None = Field(None, description="Name it is served under; absent: the hub id, or the folder's name.")
    port: Port = Field(50051, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: Port = Field(9051, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    device: Device = Field("auto", description="auto, cpu or cuda:N; auto is the first GPU, else the CPU.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Element type of the weights; auto is the checkpoint's own."
    )
    quantization: Literal[
        "none", "bitsandbytes-int8", "bitsandbytes-nf4", "bitsandbytes-nf4-double", "bitsandbytes-fp4"
    ] = Field("none", description="Quantizes the weights while loading: saves memory, costs speed and accuracy.")
    trust_remote_code: bool = Field(
        False, description="Runs the code that comes with the checkpoint, with all rights of this process."
    )
    allow_pickle_weights: bool = Field(
        False, description="Unpickles weights where there are none in safetensors, which may run code of their maker."
    )
    threads: int = Field(1, ge=1, description="CPU threads of the model: cores divided by services on the machine.")
    stuck_step_seconds: float = Field(
        300.0, gt=0, description="/livez fails once a single step of the model lasts longer than this."
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
    max_queued_requests: int = Field(256, ge=1, description="Requests that may wait.")
    max_queued_tokens: int = Field(262_144, ge=1, description="Prompt tokens that may wait.")
    max_unread_tokens: int = Field(1024, ge=1, description="Generated tokens that may wait for a slow reader.")
    max_batch_items: int = Field(256, ge=1, description="Items of one batched request.")
