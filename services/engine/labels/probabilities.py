"""Turns a classifier's logits into probabilities."""

from torch import Tensor


def probabilities(logits: Tensor, *, multi_label: bool) -> Tensor:
    """Returns probabilities over the last dimension: sigmoid if `multi_label`, otherwise softmax."""
    return logits.sigmoid() if multi_label else logits.softmax(-1)
