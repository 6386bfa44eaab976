"""Reads the configuration that PEFT saves with an adapter, and checks that such an adapter can be merged."""

import json
import logging
import math
import re
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

CONFIG = "adapter_config.json"

_OTHER_KINDS = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "arrow_config": "Arrow",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "alora_invocation_tokens": "Activated LoRA",
    "layer_replication": "LoRA with repeated layers",
}
"""Fields that, if set, make an adapter more than a sum of low-rank products."""
_KNOWN = {
    "peft_type", "task_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
    "r", "rank_pattern", "lora_alpha", "alpha_pattern", "use_rslora", "fan_in_fan_out", "bias", "lora_bias",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "target_parameters",
    "modules_to_save", "trainable_token_indices", "ensure_weight_tying", "init_lora_weights", "lora_dropout",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config", "qalora_group_size",
    "megatron_config", "megatron_core", "runtime_config",
}  # fmt: skip
"""Fields that are supported, or have no effect after training: those of PEFT 0.21 except those of other kinds."""
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the model's own weights unchanged."""


def read_config(path: Path) -> dict[str, Any]:
    """Returns the configuration of an adapter that can be merged.

    Raises:
        ValueError: it is damaged, or of an adapter that cannot be merged. The message says why and what to do.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its {CONFIG} is no JSON: {error}.") from error
    if not isinstance(config, dict):
        raise ValueError(f"its {CONFIG} holds no object.")
    if reason := _unmergeable(config) or _unscaled(config):
        raise ValueError(reason)
    if unknown := sorted(field for field, value in config.items() if value and field not in _KNOWN):
        log.warning("%s sets what is not known here, and not followed: %s", path, ", ".join(unknown))
    return config


def _unmergeable(config: dict[str, Any]) -> str:
    """Returns why an adapter with this configuration cannot be merged, and what to do; an empty string if it can."""
    merge = "Merge it by PEFT's merge_and_unload, save the whole model, and serve that."
    kind = config.get("peft_type")
    if kind != "LORA":
        return f"it is a PEFT adapter of the kind {kind}; LORA alone is merged here. {merge}"
    for field, name in _OTHER_KINDS.items():
        if config.get(field):
            return f"it is made by {name} ({field}), which is not merged here. {merge}"
    start = config.get("init_lora_weights")
    if start not in _PLAIN_STARTS:
        return (
            f"its training began with init_lora_weights={start}, which changes the model's own weights. Save it by "
            "PEFT's save_pretrained with path_initial_model_for_weight_conversion, which makes a plain LoRA of it."
        )
    return ""


def _unscaled(config: dict[str, Any]) -> str:
    """Returns why the scale of the products is unknown; an empty string if it is known."""
    patterns: Any = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        return "its alpha_pattern holds no object."
    for name, alpha in {"": config.get("lora_alpha"), **patterns}.items():
        if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
            field = f"alpha_pattern of {name}" if name else "lora_alpha"
            return f"its {field} is {alpha}, and should be a number."
        try:
            re.compile(name)
        except re.error as error:
            return f"{name} in its alpha_pattern is no regular expression: {error}."
    return ""
