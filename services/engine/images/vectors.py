"""One vector per image, from models that embed images only."""

from typing import Any

from torch import Tensor

from services.engine.images.loading import LoadedVisionModel

POOLERS = ("pooler.",)
"""Prefixes of weights that may be missing: checkpoints trained for another task have no pooler."""


def compute_vectors(loaded: LoadedVisionModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `vector`, `[images, width]`. For ImageRunner.

    It is the model's own `pooler_output`, as in transformers' image-feature-extraction pipeline with `pool`. If the
    model has no pooler or its weights are missing: the class token's state, or the mean of all states without one.
    """
    output = loaded.model(**batch)
    own = getattr(output, "pooler_output", None)
    if own is not None and not loaded.missing:
        return {"vector": own.flatten(1)}
    states: Tensor = output.last_hidden_state
    if states.dim() == 4:  # a feature map, [images, channels, height, width]
        return {"vector": states.mean((2, 3))}
    return {"vector": states[:, 0] if _has_class_token(loaded.model) else states.mean(1)}


def _has_class_token(model: Any) -> bool:
    return any(name.rpartition(".")[2] in {"cls_token", "class_embedding"} for name, _ in model.named_parameters())
