"""The verb Rerank: documents sorted by their relevance to a query, as a cross-encoder scores them."""

from collections.abc import Sequence

import numpy as np

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.encoders.heads import ClassificationHead, Floats, sigmoid
from services.engine.encoders.reader import TextReader
from services.engine.encoders.tokens import TextTokens
from services.engine.language.texts import are_short
from services.text.understanding.ask import RankedDocument, RerankAsk
from services.text.understanding.text_list import TextList, collecting, require_at_least_one


class TextReranker:
    """Scores documents with a one-label model that reads each pair of query and document.

    A score is the sigmoid of the model's only logit; a raw score is the logit itself. For sentence-transformers
    checkpoints whose activation is Identity, their score is the raw score here.
    """

    def __init__(self, pipeline: Pipeline, reader: TextReader, head: ClassificationHead, most_items: int) -> None:
        self._pipeline = pipeline
        self._reader = reader
        self._head = head
        self._documents = TextList(most_items, "documents")

    async def rerank(self, ask: RerankAsk) -> Answer[Sequence[RankedDocument]]:
        """Returns the documents, the most relevant first; equal scores keep the order of the request.

        Raises:
            InvalidArgument: there are no documents or too many, a document or the query is empty or too long, or an
                option is out of range.
        """
        light = self._reader.is_fast and ask.input.is_light and are_short(ask.query)
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline, light=light)

    def _prepare(self, ask: RerankAsk) -> Prepared[Sequence[RankedDocument]]:
        wrong = list(ask.input.violations)
        require_at_least_one(wrong, top_n=ask.top_n)
        pairs = self._pairs(ask, wrong)
        if wrong:
            raise InvalidArgument(wrong)
        items = [Item(tokens, len(tokens), self._head.kind(tokens.ids)) for tokens in pairs]
        return Prepared(items, lambda outputs: ranked(outputs, ask), sum(map(len, pairs)))

    def _pairs(self, ask: RerankAsk, wrong: list[Violation]) -> list[TextTokens]:
        query = None
        if not ask.query:
            wrong.append(Violation("query", "must not be empty"))
        with collecting(wrong):
            query = self._reader.part(ask.query, None, field="query")
        truncation, pairs = ask.input.truncation, list[TextTokens]()
        for document in self._documents.parts(ask.input.texts, truncation, wrong, self._reader):
            if query is not None:
                with collecting(wrong):
                    pairs.append(self._reader.read_pair(query, document, truncation, cut=1))
        return pairs


def ranked(outputs: Sequence[Floats], ask: RerankAsk) -> list[RankedDocument]:
    """Returns the documents, the highest score first; each output is one logit, `[1]`."""
    logits = np.concatenate(list(outputs))
    scores = logits if ask.raw_scores else sigmoid(logits)
    order = np.argsort(-scores, kind="stable")
    return [RankedDocument(int(i), float(scores[i])) for i in order[: ask.top_n]]
