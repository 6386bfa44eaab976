"""Implements MultimodalService: each RPC converts its request, calls a verb and converts the result."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from sensorium.v1 import multimodal_pb2 as pb
from services.generation.ask import Generation
from services.generation.response_conversion import stream_events, whole_response
from services.generation.starting_conversion import start_conversation
from services.multimodal.caption_conversion import caption_ask
from services.multimodal.chat.conversation_conversion import conversation_ask
from services.multimodal.question_conversion import document_question_ask, image_question_ask
from services.multimodal.reading.answers_conversion import answer_events, document_answers, image_answers
from services.multimodal.verb_set import MultimodalVerbs
from services.multimodal.writing.writing_conversion import written_answers, written_caption
from services.verb_servicer import VerbServicer


class MultimodalServicer(VerbServicer[MultimodalVerbs]):
    """The RPCs of MultimodalService that this model serves; `services.handlers` refuses the others."""

    async def Generate(
        self, request: pb.MultimodalServiceGenerateRequest, context: Any
    ) -> pb.MultimodalServiceGenerateResponse:
        """Generates text from a conversation with media and returns it complete."""
        verb = self._able("Generate", self._ready(request.model).generator)
        starting = start_conversation(verb, conversation_ask, request, context.time_remaining())
        async with _started(starting) as generation:
            return await whole_response(generation, self._served.identity, pb.MultimodalServiceGenerateResponse)

    async def StreamGenerate(
        self, request: pb.MultimodalServiceStreamGenerateRequest, context: Any
    ) -> AsyncIterator[pb.MultimodalServiceStreamGenerateResponse]:
        """Generates text from a conversation with media and streams it."""
        verb = self._able("Generate", self._ready(request.model).generator)
        kind = pb.MultimodalServiceStreamGenerateResponse
        starting = start_conversation(verb, conversation_ask, request, context.time_remaining())
        async with _started(starting) as generation:
            async for event in stream_events(generation, self._served.identity, kind, context):
                yield event

    async def Caption(self, request: pb.CaptionRequest, context: Any) -> pb.CaptionResponse:
        """Describes an image and returns the complete caption."""
        verb = self._able("Caption", self._ready(request.model).captioner)
        async with _started(verb.start(caption_ask(request, context.time_remaining()))) as generation:
            return await written_caption(generation, self._served.identity)

    async def StreamCaption(
        self, request: pb.StreamCaptionRequest, context: Any
    ) -> AsyncIterator[pb.StreamCaptionResponse]:
        """Describes an image and streams the caption."""
        verb = self._able("StreamCaption", self._ready(request.model).captioner)
        async with _started(verb.start(caption_ask(request, context.time_remaining()))) as generation:
            async for event in stream_events(generation, self._served.identity, pb.StreamCaptionResponse, context):
                yield event

    async def AnswerImageQuestion(
        self, request: pb.AnswerImageQuestionRequest, context: Any
    ) -> pb.AnswerImageQuestionResponse:
        """Answers a question about an image."""
        verbs, ask = self._ready(request.model), image_question_ask(request, context.time_remaining())
        if verbs.image_reader is not None:
            return image_answers(await verbs.image_reader.answer(ask), self._served.identity)
        async with _started(self._able("AnswerImageQuestion", verbs.image_writer).start(ask)) as generation:
            return await written_answers(generation, self._served.identity, pb.AnswerImageQuestionResponse)

    async def StreamAnswerImageQuestion(
        self, request: pb.StreamAnswerImageQuestionRequest, context: Any
    ) -> AsyncIterator[pb.StreamAnswerImageQuestionResponse]:
        """Answers a question about an image and streams the answer."""
        verbs, ask = self._ready(request.model), image_question_ask(request, context.time_remaining())
        kind = pb.StreamAnswerImageQuestionResponse
        if verbs.image_reader is not None:
            for event in answer_events(await verbs.image_reader.answer(ask), self._served.identity, kind):
                yield event
            return
        verb = self._able("StreamAnswerImageQuestion", verbs.image_writer)
        async with _started(verb.start(ask)) as generation:
            async for event in stream_events(generation, self._served.identity, kind, context):
                yield event

    async def AnswerDocumentQuestion(
        self, request: pb.AnswerDocumentQuestionRequest, context: Any
    ) -> pb.AnswerDocumentQuestionResponse:
        """Answers a question about a page of a document."""
        verbs, ask = self._ready(request.model), document_question_ask(request, context.time_remaining())
        if verbs.document_reader is not None:
            return document_answers(await verbs.document_reader.answer(ask), self._served.identity)
        async with _started(self._able("AnswerDocumentQuestion", verbs.document_writer).start(ask)) as generation:
            return await written_answers(generation, self._served.identity, pb.AnswerDocumentQuestionResponse)

    async def StreamAnswerDocumentQuestion(
        self, request: pb.StreamAnswerDocumentQuestionRequest, context: Any
    ) -> AsyncIterator[pb.StreamAnswerDocumentQuestionResponse]:
        """Answers a question about a page of a document and streams the answer."""
        verbs, ask = self._ready(request.model), document_question_ask(request, context.time_remaining())
        kind = pb.StreamAnswerDocumentQuestionResponse
        if verbs.document_reader is not None:
            for event in answer_events(await verbs.document_reader.answer(ask), self._served.identity, kind):
                yield event
            return
        verb = self._able("StreamAnswerDocumentQuestion", verbs.document_writer)
        async with _started(verb.start(ask)) as generation:
            async for event in stream_events(generation, self._served.identity, kind, context):
                yield event


@asynccontextmanager
async def _started(starting: Awaitable[Generation]) -> AsyncGenerator[Generation]:
    """Starts a generation. Cancels it when the call ends for any reason, which frees its rows."""
    generation = await starting
    try:
        yield generation
    finally:
        generation.stream.cancel()
