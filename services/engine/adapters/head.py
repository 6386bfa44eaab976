"""What an adapter makes of its model's configuration: of a model without a head for a task, one that has it."""

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
"""Classes by kinds of models, by what PEFT calls a task. What generates is called so by its own model."""
_HEADS = ("score", "classifier", "classifier.out_proj", "logits_proj")
"""Layers whose outputs are labels, where an adapter has trained them whole."""


def adapt(config: PretrainedConfig, adapter: Adapter) -> None:
    """Makes a model's configuration that of what was fine-tuned: its class, and how many labels it has."""
    own = _CLASSES.get(adapter.config.get("task_type") or "", {}).get(config.model_type)
    if isinstance(own, str):  # some have several
        config.architectures = [own]
    rows = [shape[0] for shape in (adapter.shape_of(f"{layer}.weight") for layer in _HEADS) if len(shape) == 2]
    if rows and rows[0] != config.num_labels:
        config.num_labels = rows[0]  # they have no names then
