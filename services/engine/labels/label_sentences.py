"""Turns labels of a request into sentences that a joint model compares with an image or a sound."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.joint import JointModel, TextInputs
from services.engine.labels.label_list import wrong_labels
from services.engine.language.known_texts import KnownText, KnownTexts

MOST_LABELS = 1000
PLACE = "{}"
_MOST_CHARACTERS = 1000
_KNOWN_TEXTS = 4096


@dataclass
class Sentences:
    """The sentences of one request: `known` ones have cached vectors, `new` ones are to be embedded."""

    all: list[str]
    known: dict[str, KnownText] = field(default_factory=dict[str, KnownText])
    new: dict[str, TextInputs] = field(default_factory=dict[str, TextInputs])

    @property
    def token_count(self) -> int:
        """Tokens of all sentences, cached ones included."""
        return sum((self.known.get(sentence) or self.new[sentence]).token_count for sentence in self.all)


class LabelSentences:
    """Puts labels into a template, and caches the vectors of sentences. Thread-safe."""

    def __init__(self, joint: JointModel, default_template: str) -> None:
        self._joint = joint
        self._default = default_template
        self._known = KnownTexts(_KNOWN_TEXTS)

    def read(self, labels: Sequence[str], template: str | None, wrong: list[Violation]) -> Sentences:
        """Returns the sentences of labels. Appends violations of labels or template to `wrong`."""
        template = self._default if template is None else template
        if template.count(PLACE) != 1 or len(template) > _MOST_CHARACTERS:
            wrong.append(
                Violation("hypothesis_template", f"must hold `{PLACE}` once, in at most {_MOST_CHARACTERS} characters")
            )
            template = PLACE  # so that a bad template does not multiply the size of many labels
        found = Sentences([template.replace(PLACE, label) for label in labels])
        wrong += (labels_wrong := wrong_labels(labels, MOST_LABELS))
        if len(labels) > MOST_LABELS:
            return found  # too many to tokenize
        passed_over = {violation.field for violation in labels_wrong}
        for i, sentence in enumerate(found.all):
            if f"labels[{i}]" in passed_over:
                continue
            if (known := self._known.get(sentence)) is not None:
                found.known[sentence] = known
            else:
                try:
                    found.new[sentence] = self._joint.read(sentence, field=f"labels[{i}]")
                except InvalidArgument as error:
                    wrong += error.violations
        return found

    def vectors(self, sentences: Sentences, outputs: Sequence[Any]) -> Tensor:
        """Returns the vectors of all sentences, `[sentences, width]`. `outputs` are those of the new ones, in order."""
        for (sentence, text), output in zip(sentences.new.items(), outputs, strict=True):
            sentences.known[sentence] = KnownText(output["vector"], text.token_count)
            self._known.put(sentence, sentences.known[sentence])
        return torch.stack([sentences.known[sentence].vector for sentence in sentences.all])
