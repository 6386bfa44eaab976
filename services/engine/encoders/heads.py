"""Interprets a classifier's logits as its configuration says: labels, scores, entailment."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.engine.encoders.loading import LoadedEncoder

Floats = NDArray[np.float32]


class Scoring(Enum):
    """How logits become scores. The values have no meaning."""

    TOGETHER = "softmax"
    """Softmax over all labels, which sums to 1."""
    APART = "sigmoid"
    """Sigmoid of each label on its own."""
    RAW = "raw"
    """Unchanged: a regression."""


@dataclass(frozen=True)
class Entailment:
    """The label indices of a natural language inference model."""

    entailment: int
    contradiction: int
    """The label of that name, otherwise the last or first one, as in transformers."""


@dataclass(frozen=True)
class ClassificationHead:
    """The labels of a model, and how their scores are computed."""

    labels: Sequence[str]
    scoring: Scoring
    entailment: Entailment | None
    """None for a model that was not trained on inference."""
    end_token_id: int | None
    """Set if the model classifies at its last end token: only texts with the same number of them share a batch."""

    @property
    def ranks(self) -> bool:
        """Whether it has a single label, which can serve as a relevance score."""
        return len(self.labels) == 1

    def kind(self, ids: Sequence[int]) -> int:
        """Returns a text's batch key: only texts with equal keys share a batch."""
        return 0 if self.end_token_id is None else list(ids).count(self.end_token_id)


def classification_head(loaded: LoadedEncoder) -> ClassificationHead:
    """Returns the head that the model's configuration describes."""
    config: Any = loaded.model.config
    labels = loaded.labels
    if config.problem_type == "regression":
        scoring = Scoring.RAW
    elif config.problem_type == "multi_label_classification" or len(labels) == 1:
        scoring = Scoring.APART
    else:
        scoring = Scoring.TOGETHER
    end = config.eos_token_id if config.is_encoder_decoder else None
    return ClassificationHead(labels, scoring, _entailment(labels), end if isinstance(end, int) else None)


def _entailment(labels: Sequence[str]) -> Entailment | None:
    found = [i for i, label in enumerate(labels) if label.lower().startswith("entail")]
    if not found or len(labels) < 2:
        return None
    named = [i for i, label in enumerate(labels) if label.lower().startswith("contradict")]
    otherwise = len(labels) - 1 if found[0] == 0 else 0
    return Entailment(found[0], named[0] if named else otherwise)


def softmax(logits: Floats) -> Floats:
    """Returns probabilities over the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def sigmoid(logits: Floats) -> Floats:
    """Returns the sigmoid of each logit."""
    return np.exp(-np.logaddexp(0, -logits))
