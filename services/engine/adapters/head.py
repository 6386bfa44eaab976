"""Adapts a model's configuration to the adapter's task: its class, such as a classifier, and the number of labels."""

from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto import modeling_auto as auto

from services.engine.adapters.adapter import Adapter

_CLASSES: dict[str, Any] = {
    "SEQ_CLS": auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "TOKEN_CLS": auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    "QUESTION_ANS": auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
    "FEATURE_EXTRACTION": auto.MODEL_MAPPING_NAMES,
}
"""Model classes by PEFT's task type and by model type. Generative models need no entry: the class stays."""
_HEADS = ("score", "classifier", "classifier.out_proj", "logits_proj")
"""Layers whose outputs are labels; an adapter may replace them as a whole."""


def adapt(config: PretrainedConfig, adapter: Adapter) -> None:
    """Sets the class and the number of labels that the adapter was trained with."""
    own = _CLASSES.get(adapter.config.get("task_type") or "", {}).get(config.model_type)
    if isinstance(own, str):  # some model types have several classes
        config.architectures = [own]
    rows = [shape[0] for shape in (adapter.shape_of(f"{layer}.weight") for layer in _HEADS) if len(shape) == 2]
    if rows and rows[0] != config.num_labels:
        config.num_labels = rows[0]  # this also resets the labels' names
