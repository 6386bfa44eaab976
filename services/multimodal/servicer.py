"""MultimodalService over plain values: each RPC converts, asks its verb, and converts back."""

from collections.abc import AsyncIterator
from typing import Any

from sensorium.v1 import multimodal_pb2 as pb
from services.multimodal.answers_conversion import answer_events, document_answers, image_answers
from services.multimodal.question_conversion import document_question_ask, image_question_ask
from services.multimodal.verb_set import MultimodalVerbs
from services.verb_servicer import VerbServicer


class MultimodalServicer(VerbServicer[MultimodalVerbs]):
    """The RPCs of MultimodalService that this model serves; `services.handlers` refuses the others."""

    async def AnswerImageQuestion(
        self, request: pb.AnswerImageQuestionRequest, context: Any
    ) -> pb.AnswerImageQuestionResponse:
        """Answers a question about an image."""
        verb = self._able("AnswerImageQuestion", self._ready(request.model).image_reader)
        answer = await verb.answer(image_question_ask(request, context.time_remaining()))
        return image_answers(answer, self._served.identity)

    async def StreamAnswerImageQuestion(
        self, request: pb.StreamAnswerImageQuestionRequest, context: Any
    ) -> AsyncIterator[pb.StreamAnswerImageQuestionResponse]:
        """Answers a question about an image and streams the answer."""
        verb = self._able("StreamAnswerImageQuestion", self._ready(request.model).image_reader)
        answer = await verb.answer(image_question_ask(request, context.time_remaining()))
        for event in answer_events(answer, self._served.identity, pb.StreamAnswerImageQuestionResponse):
            yield event

    async def AnswerDocumentQuestion(
        self, request: pb.AnswerDocumentQuestionRequest, context: Any
    ) -> pb.AnswerDocumentQuestionResponse:
        """Answers a question about a page of a document."""
        verb = self._able("AnswerDocumentQuestion", self._ready(request.model).document_reader)
        answer = await verb.answer(document_question_ask(request, context.time_remaining()))
        return document_answers(answer, self._served.identity)

    async def StreamAnswerDocumentQuestion(
        self, request: pb.StreamAnswerDocumentQuestionRequest, context: Any
    ) -> AsyncIterator[pb.StreamAnswerDocumentQuestionResponse]:
        """Answers a question about a page of a document and streams the answer."""
        verb = self._able("StreamAnswerDocumentQuestion", self._ready(request.model).document_reader)
        answer = await verb.answer(document_question_ask(request, context.time_remaining()))
        for event in answer_events(answer, self._served.identity, pb.StreamAnswerDocumentQuestionResponse):
            yield event
