"""The settings that all services with a model share."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sensorium.rpc import ServerSettings


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name):
        raise ValueError("is not auto, cpu, cuda or cuda:N")
    return name


Device = Annotated[str, AfterValidator(_device)]
"""`auto` is the first GPU, or the CPU where there is none."""


class ModelSettings(ServerSettings):
    """Which model to load, how, and how much of it one caller may use. Each service extends this with its own."""

    model: str = Field(
        description="Folder of a checkpoint, or id of a model on the Hugging Face hub; either may be an adapter alone."
    )
    revision: str | None = Field(None, description="Commit, branch or tag on the hub; absent: the main branch.")
    adapter: str | None = Field(
        None,
        description="LoRA adapter to merge into the weights: a folder, or OWNER/NAME[/FOLDER][@REVISION] on the hub.",
    )
    name: str | None = Field(
        None, description="Name it is served under; absent: the adapter's or the model's hub id, or the folder's name."
    )
    device: Device = Field("auto", description="auto, cpu or cuda:N; auto is the first GPU, else the CPU.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Element type of the weights; auto is the checkpoint's own, but float32 for vision and "
        "speech on a CPU that would emulate it.",
    )
    quantization: Literal[
        "none",
        "int8",
        "fp8_e4m3",
        "bitsandbytes-int8",
        "bitsandbytes-nf4",
        "bitsandbytes-nf4-double",
        "bitsandbytes-fp4",
    ] = Field(
        "none",
        description="Quantizes the weights while loading. int8 and fp8_e4m3 make decoding on a GPU faster; those of "
        "bitsandbytes save memory and cost speed. All cost some accuracy.",
    )
    trust_remote_code: bool = Field(
        False, description="Runs the code that comes with the checkpoint, with all rights of this process."
    )
    allow_pickle_weights: bool = Field(
        False, description="Unpickles weights where there are none in safetensors, which may run code of their maker."
    )
    threads: int = Field(1, ge=1, description="CPU threads of the model: cores divided by services on the machine.")
    stuck_step_seconds: float = Field(
        300.0,
        gt=0,
        description="The process ends, to be started anew, once a step of the model lasts longer than this; ten "
        "times as long for steps that read.",
    )
    max_queued_requests: int = Field(256, ge=1, description="Requests that may wait.")
    max_batch_items: int = Field(256, ge=1, description="Items of one batched request.")
    batch_wait_ms: float = Field(
        0.0, ge=0, description="How long a free model waits to fill a batch; 0 never lets it idle. Not for generation."
    )
