"""The labels of a request, and how many of them it wants back."""

from collections.abc import Sequence

from sensorium.errors import Violation


def wrong_labels(labels: Sequence[str], most: int) -> list[Violation]:
    """Returns what is wrong with labels whatever reads them: too many, empty ones, and those that come twice."""
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
    """Returns what is wrong with how many of the likeliest labels were asked for; None asks for all."""
    if top_k is None or top_k >= 1:
        return []
    return [Violation("top_k", f"must be at least 1, not {top_k}")]
