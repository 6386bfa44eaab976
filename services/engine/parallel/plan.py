"""Checks whether a model can be divided among ranks."""

import math
from collections.abc import Iterator

from torch.distributed.tensor import DTensor
from transformers import PretrainedConfig, PreTrainedModel

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.parallel.styles import local
from services.engine.quantization import own_quantization

_DIVIDED = ("num_attention_heads", "num_key_value_heads", "intermediate_size", "moe_intermediate_size", "vocab_size")
"""Sizes in a configuration that have to be divisible by the number of ranks."""
_MOST_KEPT = 0.5
"""Greatest share of weights that each rank may hold whole: with more, further GPUs would add hardly any memory."""


def require_divisible(checkpoint: Checkpoint, config: PretrainedConfig) -> None:
    """Checks, before weights are read, that the model can be divided.

    Raises:
        ModelRefused: it cannot be divided among so many ranks. The message says what is possible.
    """
    size, text = checkpoint.rank_count, config.get_text_config()
    asked = f"--tensor-parallel {size}: {checkpoint.source}"
    if config.is_encoder_decoder:
        raise ModelRefused(f"{asked} is an encoder-decoder; only decoders are divided among GPUs.")
    if method := own_quantization(config):
        raise ModelRefused(
            f"{asked} comes quantized by {method}, and such weights are not divided among GPUs. Serve the original "
            "checkpoint, with --quantization int8 or fp8_e4m3."
        )
    if checkpoint.quantization != "none" and not checkpoint.narrow:
        raise ModelRefused(
            f"{asked} with --quantization {checkpoint.quantization}: weights of bitsandbytes are not divided among "
            "GPUs. Use int8 or fp8_e4m3, which take a byte for each weight."
        )
    if not getattr(text, "base_model_tp_plan", None):
        raise ModelRefused(
            f"{asked} is of a type ({config.model_type}) for which transformers has no plan how to divide it. Serve it "
            "on one GPU."
        )
    sizes = dict(_sizes(text))
    if wrong := {name: value for name, value in sizes.items() if value % size}:
        fitting = [str(n) for n in range(2, math.gcd(*sizes.values()) + 1) if math.gcd(*sizes.values()) % n == 0]
        works = f"{' or '.join(fitting)} would work" if fitting else "no number of GPUs but one would work"
        told = ", ".join(f"{name} {value}" for name, value in wrong.items())
        raise ModelRefused(f"{asked} cannot be divided among {size} GPUs ({told}); {works}.")


def require_divided(model: PreTrainedModel, size: int) -> None:
    """Checks that the plan has divided most of the loaded weights.

    Raises:
        ModelRefused: most of the weights are whole on every rank.
    """
    whole = sum(parameter.numel() for parameter in model.parameters() if not isinstance(parameter, DTensor))
    share = whole / model.num_parameters()
    if share > _MOST_KEPT:
        raise ModelRefused(
            f"--tensor-parallel {size}: the plan of {type(model).__name__} leaves {share:.0%} of its weights whole on "
            "every GPU. Serve it on one."
        )


def weight_bytes(model: PreTrainedModel) -> int:
    """Returns the bytes of weights that this rank holds."""
    held = {tensor.data_ptr(): tensor.nbytes for tensor in map(local, model.parameters())}
    return sum(held.values())


def _sizes(config: PretrainedConfig) -> Iterator[tuple[str, int]]:
    for name in _DIVIDED:
        value = getattr(config, name, None)
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, int) and one:
                yield name, one
