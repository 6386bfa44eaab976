"""Which quantizations round the weights before an adapter could be merged into them."""

from transformers import PretrainedConfig

from services.engine.narrow.numbers import NARROW_KINDS
from services.engine.quantization import own_quantization


def rounded_before(config: PretrainedConfig, quantization: str, rank_count: int) -> str:
    """Returns why no adapter can be merged into the weights, and what to do; an empty string if one can.

    `quantization` is the one of ModelSettings, and `rank_count` the number of GPUs that share the weights.
    """
    if method := own_quantization(config):
        return (
            f"its weights come rounded, by {method}. Give the original checkpoint by --model and the adapter by "
            "--adapter, and --quantization if it must be small."
        )
    if quantization == "none" or (quantization in NARROW_KINDS and rank_count == 1):
        return ""
    divided = f" with --tensor-parallel {rank_count}" if rank_count > 1 else ""
    return (
        f"--quantization {quantization}{divided} rounds weights while they are read. Leave it, take int8 or fp8_e4m3 "
        "on one GPU, or merge the adapter by PEFT's merge_and_unload, save the whole model, and serve that."
    )
