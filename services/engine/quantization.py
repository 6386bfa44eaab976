"""Quantized weights: by bitsandbytes in 8 or 4 bits, which saves memory and costs speed, or by the package `narrow`."""

from typing import Any

import torch
from transformers import BitsAndBytesConfig, PretrainedConfig

from services.engine.narrow.numbers import NARROW_KINDS

_LOADABLE = {"bitsandbytes"}
"""Methods of quantized checkpoints that load with the packages installed here."""

_FOUR_BITS: dict[str, dict[str, Any]] = {
    "bitsandbytes-nf4": {"bnb_4bit_quant_type": "nf4"},
    "bitsandbytes-nf4-double": {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "bitsandbytes-fp4": {"bnb_4bit_quant_type": "fp4"},
}


def quantization_config(name: str, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """Returns how transformers quantizes while loading: `bitsandbytes-int8`, or one of the 4-bit kinds.

    4-bit weights are multiplied in `dtype`. None for `none` and for the kinds of `narrow`, which rounds after loading.
    """
    if name == "none" or name in NARROW_KINDS:
        return None
    if name == "bitsandbytes-int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=dtype, **_FOUR_BITS[name])


def own_quantization(config: PretrainedConfig) -> str:
    """Returns the method by which a checkpoint is quantized; empty where it is not."""
    found: Any = getattr(config, "quantization_config", None)
    if found is None:
        return ""
    method = found.get("quant_method") if isinstance(found, dict) else found.quant_method
    return str(getattr(method, "value", method))


def unloadable(config: PretrainedConfig) -> str:
    """Returns why a quantized checkpoint cannot be loaded here; empty where it can."""
    method = own_quantization(config)
    if not method or method in _LOADABLE:
        return ""
    return (
        f"its weights are quantized by {method}, which needs a package that is not part of sensorium. Serve the "
        "original checkpoint, with --quantization if it must be small."
    )
