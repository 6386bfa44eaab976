"""The verb ClassifyTokens: token classification, such as named entity recognition, with tokens joined to spans."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.encoders.heads import Floats, softmax
from services.engine.encoders.outputs import apart
from services.engine.encoders.reader import TextReader
from services.engine.encoders.runner import TextBatch
from services.engine.encoders.tokens import TextTokens
from services.engine.encoders.windows import own_tokens, windows
from services.engine.threads.turns import give_way
from services.text.extraction.token_spans import Aggregation, LabelledTokens, SpanMaker
from services.text.understanding.ask import ClassifyTokensAsk, LabelledSpan
from services.text.understanding.length_limit import LengthLimit
from services.text.understanding.text_list import TextList

_OVERLAP = 8
"""By default, neighbouring windows share the model's context divided by this."""


@dataclass(frozen=True, eq=False)
class _Labelled:
    """The model's inputs for a text or a window of it, and the positions of the tokens to label."""

    tokens: TextTokens
    wanted: slice


def read_token_logits(output: Any, _batch: TextBatch, items: Sequence[Item]) -> Sequence[Floats | None]:
    """Returns the logits, `[tokens, labels]`, of the wanted tokens of each item, None if NaN. For TextRunner."""
    return apart([row[item.inputs.wanted] for row, item in zip(output.logits, items, strict=True)], -1)


class TokenClassifier:
    """Labels the tokens of a request's texts. If one text is invalid, the whole request fails.

    A text longer than the model's context is read in overlapping windows. Each token gets its label from the window
    that has most context around it.
    """

    def __init__(
        self, pipeline: Pipeline, reader: TextReader, spans: SpanMaker, texts: TextList, most_tokens: int
    ) -> None:
        """`most_tokens` is the most that all windows of a request may hold together."""
        self._pipeline = pipeline
        self._reader = reader
        self._spans = spans
        self._texts = texts
        self._limit = LengthLimit(most_tokens, texts.name)

    async def classify_tokens(self, ask: ClassifyTokensAsk) -> Answer[Sequence[Sequence[LabelledSpan]]]:
        """Returns the labelled spans of each text, in text order.

        Raises:
            InvalidArgument: there are no texts or too many, some are empty, they are too long together, or an
                option is out of range.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: ClassifyTokensAsk) -> Prepared[Sequence[Sequence[LabelledSpan]]]:
        context = self._reader.context_tokens
        wrong = list(ask.input.violations)
        overlap = context // _OVERLAP if ask.overlap_token_count is None else ask.overlap_token_count
        if not 0 <= 2 * overlap < context:
            wrong.append(Violation("overlap_token_count", f"must be in [0, {(context - 1) // 2}], not {overlap}"))
        if ask.min_score is not None and not 0 <= ask.min_score <= 1:
            wrong.append(Violation("min_score", f"must be in [0, 1], not {ask.min_score:g}"))
        texts = self._limit.readable(self._texts.check(ask.input.texts, wrong), wrong)
        if wrong:
            raise InvalidArgument(wrong)
        read = self._texts.wholes(texts, wrong, self._reader)
        if wrong:
            raise InvalidArgument(wrong)
        items = [self._items(tokens, overlap) for tokens in read]
        counts = [len(each) for each in items]
        flat = [item for each in items for item in each]
        total = self._limit.require(flat)
        return Prepared(flat, lambda outputs: self._finish(ask, read, counts, outputs), total)

    def _items(self, tokens: TextTokens, overlap: int) -> list[Item]:
        return [
            Item(_Labelled(window.tokens, window.own_places), len(window.tokens))
            for window in windows(tokens, self._reader.context_tokens, overlap)
        ]

    def _finish(
        self, ask: ClassifyTokensAsk, read: Sequence[TextTokens], counts: Sequence[int], outputs: Sequence[Floats]
    ) -> list[Sequence[LabelledSpan]]:
        results: list[Sequence[LabelledSpan]] = []
        taken = 0
        for text, tokens, count in zip(ask.input.texts, read, counts, strict=True):
            logits = np.concatenate(list(outputs[taken : taken + count]))
            taken += count
            give_way()
            labelled = LabelledTokens.of(text, tokens.select(own_tokens(tokens)), softmax(logits))
            made = self._spans.spans(labelled, Aggregation[ask.aggregation], include_outside=ask.include_outside)
            results.append([span for span in made if ask.min_score is None or span.score >= ask.min_score])
        return results
