"""Validates the labels and the `top_k` of a request."""

from collections.abc import Sequence

from sensorium.errors import Violation


def wrong_labels(labels: Sequence[str], most: int) -> list[Violation]:
    """Returns the violations of a list of labels: more than `most`, empty ones, duplicates."""
    if len(labels) > most:
        return [Violation("labels", f"must hold at most {most} items, not {len(labels)}")]
    wrong: list[Violation] = []
    first: dict[str, int] = {}
    for i, label in enumerate(map(str.strip, labels)):
        if not label:
            wrong.append(Violation(f"labels[{i}]", "must not be empty"))
        elif label in first:
            wrong.append(Violation(f"labels[{i}]", f"is the same as labels[{first[label]}]"))
        else:
            first[label] = i
    return wrong


def wrong_top_k(top_k: int | None) -> list[Violation]:
    """Returns the violations of `top_k`, the number of labels to return; None asks for all."""
    if top_k is None or top_k >= 1:
        return []
    return [Violation("top_k", f"must be at least 1, not {top_k}")]
