"""What a configuration says of rotary position embeddings."""

from typing import Any

from transformers import PretrainedConfig

_BY_LENGTH = {"dynamic", "longrope"}


def rope_types(config: PretrainedConfig) -> set[str]:
    """Returns the kinds of rotary embedding of a configuration, which may differ by the type of a layer."""
    parameters: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    return {str(kind["rope_type"]) for kind in [parameters, *nested] if "rope_type" in kind}


def frequencies_depend_on_length(config: PretrainedConfig) -> set[str]:
    """Returns those kinds whose frequencies depend on how long a sequence was when a token was computed."""
    return rope_types(config.get_text_config()) & _BY_LENGTH
