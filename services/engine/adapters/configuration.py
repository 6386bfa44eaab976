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
_NEVER_MERGED = {
    "alora_invocation_tokens", "arrow_config", "layer_replication", "PROMPT_TUNING", "MULTITASK_PROMPT_TUNING",
    "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT", "CARTRIDGE", "POLY", "XLORA", "SHADOW",
}  # fmt: skip
"""Fields and kinds of adapters that are no fixed change of weights, so that PEFT cannot merge them either."""
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
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
    unknown = sorted(field for field, value in config.items() if value and field not in _KNOWN)
    if reason := _unmergeable(config) or _unread(config, unknown) or _unscaled(config):
        raise ValueError(reason)
    if unknown:
        log.warning("%s sets what is not known here, and not followed: %s", path, ", ".join(unknown))
    return config


def _unmergeable(config: dict[str, Any]) -> str:
    """Returns why an adapter with this configuration cannot be merged, and what to do; an empty string if it can."""
    kind = config.get("peft_type")
    if kind != "LORA":
        return f"it is a PEFT adapter of the kind {kind}; LORA alone is merged here. {_instead(kind)}"
    for field, name in _OTHER_KINDS.items():
        if config.get(field):
            return f"it is made by {name} ({field}), which is not merged here. {_instead(field)}"
    start = config.get("init_lora_weights")
    if start in _PLAIN_STARTS:
        return ""
    told = f"its training began with init_lora_weights={start}, which changes the model's own weights."
    if str(start).startswith(("pissa", "olora", "corda", "lora_ga")):
        return (
            f"{told} Save it by PEFT's save_pretrained with path_initial_model_for_weight_conversion, which makes a "
            "plain LoRA of it."
        )
    return f"{told} {_instead(str(start))}"


def _instead(kind: str | None) -> str:
    if kind in _NEVER_MERGED:
        return "PEFT cannot merge it into weights either: train a plain LoRA, or serve it by PEFT itself."
    return "Merge it by PEFT's merge_and_unload, save the whole model, and serve that."


def _unread(config: dict[str, Any], unknown: list[str]) -> str:
    """Returns which unknown field may select another kind of LoRA, which PEFT names use_… or …_config; else empty."""
    for field in unknown:
        if (field.startswith("use_") and config[field] is True) or field.endswith("_config"):
            return (
                f"it sets {field}, which is not known here and may change what it computes. Merge it by PEFT's "
                "merge_and_unload, save the whole model, and serve that."
            )
    return ""


def _unscaled(config: dict[str, Any]) -> str:
    """Returns why ranks, scales or targets are unknown; an empty string if they are known."""
    for field, own in (("alpha_pattern", config.get("lora_alpha")), ("rank_pattern", config.get("r", 8))):
        patterns: Any = config.get(field) or {}
        if not isinstance(patterns, dict):
            return f"its {field} holds no object."
        for name, number in {"": own, **patterns}.items():
            if not isinstance(number, (int, float)) or not math.isfinite(number):
                told = f"{field} of {name}" if name else ("lora_alpha" if field == "alpha_pattern" else "r")
                return f"its {told} is {number}, and should be a number."
            if reason := _no_pattern(field, name):
                return reason
    for field in ("target_modules", "exclude_modules", "layers_pattern", "modules_to_save"):
        given: Any = config.get(field) or ()
        if field.endswith("_modules") and not isinstance(given, str):
            continue  # names
        for pattern in [given] if isinstance(given, str) else given:
            if reason := _no_pattern(field, str(pattern)):
                return reason
    return ""


def _no_pattern(field: str, pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern} in its {field} is no regular expression: {error}."
    return ""
