"""The verb Classify, with the model's own labels or with labels in the request (zero-shot)."""

from collections.abc import Sequence

import numpy as np

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.encoders.heads import ClassificationHead, Floats, Scoring, sigmoid, softmax
from services.engine.encoders.reader import TextReader
from services.engine.labels.label_scores import LabelScore, ranked
from services.text.understanding.ask import ClassifyAsk
from services.text.understanding.text_list import TextList, require_at_least_one
from services.text.understanding.zero_shot import ZeroShot

Labels = Sequence[LabelScore]

_FEW_LABELS = 64
"""Sorting this many labels takes less time than waking up a thread."""


class TextClassifier:
    """Classifies the texts of a request. If one text is invalid, the whole request fails."""

    def __init__(self, pipeline: Pipeline, reader: TextReader, head: ClassificationHead, texts: TextList) -> None:
        self._pipeline = pipeline
        self._reader = reader
        self._head = head
        self._texts = texts
        self._zero_shot = None if head.entailment is None else ZeroShot(reader, head, head.entailment, texts)

    @property
    def takes_labels(self) -> bool:
        """Whether requests may bring labels: only models trained on natural language inference support it."""
        return self._zero_shot is not None

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labels]]:
        """Returns the labels of each text, the highest score first. Labels in the request require `takes_labels`.

        Raises:
            InvalidArgument: there are no texts or too many, some are empty or too long, labels are empty or repeated,
                or an option is out of range or not supported with these labels or by the model.
        """
        few = not ask.labels and len(self._head.labels) <= _FEW_LABELS
        light = self._reader.is_fast and few and ask.input.is_light
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline, light=light)

    def _prepare(self, ask: ClassifyAsk) -> Prepared[Sequence[Labels]]:
        wrong = list(ask.input.violations)
        require_at_least_one(wrong, top_k=ask.top_k)
        if ask.labels and self._zero_shot is not None:
            return self._zero_shot.prepare(ask, wrong)
        if ask.hypothesis_template is not None:
            wrong.append(Violation("hypothesis_template", "goes only with `labels`"))
        if ask.multi_label is not None and self._head.scoring is Scoring.RAW:
            wrong.append(Violation("multi_label", "does not apply: the model's values are no probabilities"))
        texts = self._texts.read(ask.input.texts, ask.input.truncation, wrong, self._reader)
        if wrong:
            raise InvalidArgument(wrong)
        items = [Item(tokens, len(tokens), self._head.kind(tokens.ids)) for tokens in texts]
        return Prepared(items, lambda outputs: self._finish(np.stack(outputs), ask), sum(map(len, texts)))

    def _finish(self, logits: Floats, ask: ClassifyAsk) -> list[Labels]:
        scoring = self._head.scoring
        if ask.multi_label is not None:
            scoring = Scoring.APART if ask.multi_label else Scoring.TOGETHER
        if ask.raw_scores or scoring is Scoring.RAW:
            scores = logits
        else:
            scores = softmax(logits) if scoring is Scoring.TOGETHER else sigmoid(logits)
        return [ranked(self._head.labels, row.tolist(), ask.top_k) for row in scores]
