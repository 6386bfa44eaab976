"""How a model of images alone makes one vector of an image."""

from typing import Any

from torch import Tensor

from services.engine.images.loading import LoadedVisionModel

POOLERS = ("pooler.",)
"""Begin the names of weights that checkpoints made for another task leave out."""


def compute_vectors(loaded: LoadedVisionModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `vector` `[images, width]`; a Compute of ImageRunner.

    It is what the model itself pools, as transformers' image-feature-extraction gives it with `pool`. Where it has no
    pooling, or its files lack the weights of it: the state of the class token, or the mean where there is none.
    """
    output = loaded.model(**batch)
    own = getattr(output, "pooler_output", None)
    if own is not None and not loaded.missing:
        return {"vector": own.flatten(1)}
    states: Tensor = output.last_hidden_state
    if states.dim() == 4:  # [images, width, height, width]: a map of states
        return {"vector": states.mean((2, 3))}
    return {"vector": states[:, 0] if _has_class_token(loaded.model) else states.mean(1)}


def _has_class_token(model: Any) -> bool:
    return any(name.rpartition(".")[2] in {"cls_token", "class_embedding"} for name, _ in model.named_parameters())
