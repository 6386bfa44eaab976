"""What a model that classifies makes of its logits, as its configuration says it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.engine.encoders.loading import LoadedEncoder

Floats = NDArray[np.float32]


class Scoring(Enum):
    """How logits become scores. Values are free."""

    TOGETHER = "softmax"
    """Over all labels, so that they sum to 1."""
    APART = "sigmoid"
    """Each label by itself."""
    RAW = "raw"
    """As they are: a regression."""


@dataclass(frozen=True)
class Entailment:
    """Labels of a model of natural language inference, by index."""

    entailment: int
    contradiction: int
    """The opposite: the label of that name, else the first or last one, as transformers takes it."""


@dataclass(frozen=True)
class ClassificationHead:
    """The labels of a model, and what scores they get."""

    labels: Sequence[str]
    scoring: Scoring
    entailment: Entailment | None
    """None for a model that was not trained on inference."""
    end_token_id: int | None
    """Where the model reads its answer at its last end token: only texts with as many of them share a batch."""

    @property
    def ranks(self) -> bool:
        """Whether its only label can say how relevant a text is."""
        return len(self.labels) == 1

    def kind(self, ids: Sequence[int]) -> int:
        """Returns what a text of these tokens has to have in common with those in its batch."""
        return 0 if self.end_token_id is None else list(ids).count(self.end_token_id)


def classification_head(loaded: LoadedEncoder) -> ClassificationHead:
    """Returns what the configuration says."""
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
    """Returns each logit's own probability."""
    return np.exp(-np.logaddexp(0, -logits))
