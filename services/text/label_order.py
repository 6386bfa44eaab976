"""Labels in the order of their scores."""

from collections.abc import Sequence

import numpy as np

from services.engine.encoders.heads import Floats
from services.text.understanding_ask import ScoredLabel


def likeliest(labels: Sequence[str], scores: Floats, top_k: int | None) -> Sequence[ScoredLabel]:
    """Returns labels with their scores `[labels]`, the highest first; equal scores keep their order."""
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [ScoredLabel(labels[i], float(scores[i]), i) for i in map(int, order)]
