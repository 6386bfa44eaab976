"""From a classifier's scores to probabilities."""

from torch import Tensor


def probabilities(logits: Tensor, *, multi_label: bool) -> Tensor:
    """Returns probabilities over the last dimension: each by itself, or of all together."""
    return logits.sigmoid() if multi_label else logits.softmax(-1)
