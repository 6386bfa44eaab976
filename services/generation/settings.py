"""The settings that all services that generate text share."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from services.settings import ModelSettings


class GenerationSettings(ModelSettings):
    """How much is generated at once, and how much of it may wait."""

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
    cache_mib: int | None = Field(
        None,
        ge=1,
        description="Memory for what sequences keep, keys and values above all, at most; absent: on a GPU what weights "
        "and the largest step leave, on a CPU a quarter of what is free.",
    )
    kv_cache_dtype: Literal["auto", "fp8_e4m3"] = Field(
        "auto",
        description="How keys and values are stored; auto is as the model computes them. fp8_e4m3: in 8 bits with a "
        "scale for each token and head: half the memory of 16 bits, at some cost in accuracy.",
    )
    gpu_memory_utilization: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Share of the GPU's memory, less what others hold there, that the process takes at most where "
        "cache_mib is absent.",
    )
    max_queued_tokens: int = Field(262_144, ge=1, description="Prompt tokens that may wait.")
    max_unread_tokens: int = Field(1024, ge=1, description="Generated tokens that may wait for a slow reader.")
    max_messages_per_second: int = Field(
        2000,
        ge=0,
        description="Sends at most so many messages of tokens a second, of all streams together: tokens that come "
        "faster share one, so that sending leaves time for computing. 0: a message for each token.",
    )


class ChatSettings(GenerationSettings):
    """Those of services whose models answer in conversations."""

    response_template: Path | None = Field(
        None,
        description="File with the format of the model's answers, as transformers' `response_template` in JSON, by "
        "which `parse_response` tells reasoning and calls of tools apart; absent: the tokenizer's own, or one that is "
        "known for its chat template.",
    )
