"""Implements the RPCs of TextService that encoder models answer."""

import asyncio
from typing import Any

from sensorium.v1 import text_pb2 as pb
from services.handlers import task_not_supported
from services.text.extraction.conversion import (
    answer_question_ask,
    answer_question_response,
    classify_tokens_ask,
    classify_tokens_response,
    fill_mask_ask,
    fill_mask_response,
)
from services.text.understanding.conversion import embed_ask, embed_response
from services.text.understanding.scoring_conversion import classify_ask, classify_response, rerank_ask, rerank_response
from services.text.verb_set import TextVerbs
from services.verb_servicer import VerbServicer

_FEW_NUMBERS = 1 << 16
"""Converting this many numbers takes less time than waking up a thread."""


class UnderstandingServicer(VerbServicer[TextVerbs]):
    """Each RPC converts its request, calls a verb and converts the result."""

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        """Embeds texts as vectors."""
        verb = self._able("Embed", self._ready(request.model).embedder)
        answer = await verb.embed(embed_ask(request, context.time_remaining()))
        if sum(each.values.size for each in answer.result) <= _FEW_NUMBERS:
            return embed_response(answer, self._served.identity)
        # One vector per token can make millions of numbers, whose conversion would block the event loop.
        return await asyncio.to_thread(embed_response, answer, self._served.identity)

    async def Rerank(self, request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        """Scores documents by relevance to a query."""
        verb = self._able("Rerank", self._ready(request.model).reranker)
        answer = await verb.rerank(rerank_ask(request, context.time_remaining()))
        return rerank_response(answer, request, self._served.identity)

    async def Classify(self, request: pb.ClassifyRequest, context: Any) -> pb.ClassifyResponse:
        """Classifies texts with the model's labels or with labels in the request."""
        verb = self._able("Classify", self._ready(request.model).classifier)
        if request.labels and not verb.takes_labels:
            raise task_not_supported("Classify by labels in the request", self._served.name)
        answer = await verb.classify(classify_ask(request, context.time_remaining()))
        return classify_response(answer, self._served.identity)

    async def ClassifyTokens(self, request: pb.ClassifyTokensRequest, context: Any) -> pb.ClassifyTokensResponse:
        """Finds labelled spans in texts."""
        verb = self._able("ClassifyTokens", self._ready(request.model).token_classifier)
        answer = await verb.classify_tokens(classify_tokens_ask(request, context.time_remaining()))
        return classify_tokens_response(answer, self._served.identity)

    async def AnswerQuestion(self, request: pb.AnswerQuestionRequest, context: Any) -> pb.AnswerQuestionResponse:
        """Finds the answer to a question inside a context."""
        verb = self._able("AnswerQuestion", self._ready(request.model).question_answerer)
        answer = await verb.answer_question(answer_question_ask(request, context.time_remaining()))
        return answer_question_response(answer, self._served.identity)

    async def FillMask(self, request: pb.FillMaskRequest, context: Any) -> pb.FillMaskResponse:
        """Proposes tokens for the masks in texts."""
        verb = self._able("FillMask", self._ready(request.model).mask_filler)
        answer = await verb.fill_mask(fill_mask_ask(request, context.time_remaining()))
        return fill_mask_response(answer, self._served.identity)
