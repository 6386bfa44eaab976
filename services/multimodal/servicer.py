"""MultimodalService over plain values: each RPC converts, asks its verb, and converts back."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sensorium.v1 import multimodal_pb2 as pb
from services.generation.ask import Generation
from services.generation.response_conversion import started_event, stream_event, whole_response
from services.multimodal.answers_conversion import answer_events, document_answers, image_answers
from services.multimodal.conversation_conversion import Request, conversation_ask
from services.multimodal.question_conversion import document_question_ask, image_question_ask
from services.multimodal.verb_set import MultimodalVerbs
from services.verb_servicer import VerbServicer


class MultimodalServicer(VerbServicer[MultimodalVerbs]):
    """The RPCs of MultimodalService that this model serves; `services.handlers` refuses the others."""

    async def Generate(
        self, request: pb.MultimodalServiceGenerateRequest, context: Any
    ) -> pb.MultimodalServiceGenerateResponse:
        """Generates text from a conversation with media and returns it whole."""
        async with self._generation(request, context) as generation:
            return await whole_response(generation, self._served.identity, pb.MultimodalServiceGenerateResponse)

    async def StreamGenerate(
        self, request: pb.MultimodalServiceStreamGenerateRequest, context: Any
    ) -> AsyncIterator[pb.MultimodalServiceStreamGenerateResponse]:
        """Generates text from a conversation with media and streams it."""
        kind = pb.MultimodalServiceStreamGenerateResponse
        async with self._generation(request, context) as generation:
            yield await started_event(generation, self._served.identity, kind)
            async for event in generation.stream:
                yield stream_event(event, kind)

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

    @asynccontextmanager
    async def _generation(self, request: Request, context: Any) -> AsyncGenerator[Generation]:
        """Starts a generation and frees its row when the call ends, however it ends."""
        ask = conversation_ask(request, context.time_remaining())
        generation = await self._able("Generate", self._ready(request.model).generator).start(ask)
        try:
            yield generation
        finally:
            generation.stream.cancel()
