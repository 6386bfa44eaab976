"""Implements TextService: each RPC converts its request, calls a verb and converts the result."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from sensorium.v1 import text_pb2 as pb
from sensorium.v1.common_pb2 import Usage
from services.generation.ask import Generation
from services.generation.response_conversion import stream_events, whole_response
from services.generation.starting_conversion import start_conversation
from services.served_model import ServedModel
from services.text.request_conversion import generation_ask
from services.text.response_conversion import add_tokens, immediate_timing
from services.text.text_to_text.conversion import TextsRequest, texts_ask, whole_texts
from services.text.understanding.servicer import UnderstandingServicer
from services.text.verb_set import TextVerbs


class TextServicer(UnderstandingServicer):
    """The RPCs of TextService that this model serves; `services.handlers` refuses the others."""

    def __init__(self, served: ServedModel) -> None:
        super().__init__(served)

    def _ready(self, model: str) -> TextVerbs:
        """See VerbServicer. If `model` names an adapter, returns the verbs of that adapter."""
        verbs = super()._ready(model)
        return verbs.adapters.get(model, verbs)

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> pb.GenerateResponse:
        """Generates text and returns it complete."""
        async with self._generation(request, context) as generation:
            return await whole_response(generation, self._served.identity_of(request.model), pb.GenerateResponse)

    async def StreamGenerate(
        self, request: pb.StreamGenerateRequest, context: Any
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        """Generates text and streams it."""
        async with self._generation(request, context) as generation:
            model = self._served.identity_of(request.model)
            async for event in stream_events(generation, model, pb.StreamGenerateResponse, context):
                yield event

    async def Tokenize(self, request: pb.TokenizeRequest, context: Any) -> pb.TokenizeResponse:
        """Turns texts into token ids."""
        began = time.monotonic()
        add = request.add_special_tokens if request.HasField("add_special_tokens") else True
        tokenizer = self._ready(request.model).tokenizer
        response = pb.TokenizeResponse(model=self._served.identity_of(request.model))
        counts = await tokenizer.tokenize(list(request.texts), partial(add_tokens, response), add_special_tokens=add)
        response.usage.input_token_count = sum(counts)
        response.timing.CopyFrom(immediate_timing(time.monotonic() - began))
        return response

    async def Detokenize(self, request: pb.DetokenizeRequest, context: Any) -> pb.DetokenizeResponse:
        """Turns token ids back into text."""
        began = time.monotonic()
        sequences = [sequence.ids for sequence in request.sequences]
        tokenizer = self._ready(request.model).tokenizer
        texts = await tokenizer.detokenize(sequences, skip_special_tokens=request.skip_special_tokens)
        return pb.DetokenizeResponse(
            model=self._served.identity_of(request.model),
            texts=texts,
            usage=Usage(input_token_count=sum(map(len, sequences))),
            timing=immediate_timing(time.monotonic() - began),
        )

    async def Summarize(self, request: pb.SummarizeRequest, context: Any) -> pb.SummarizeResponse:
        """Summarizes texts and returns complete summaries."""
        async with self._generations("Summarize", request, context) as generations:
            return await whole_texts(generations, self._served.identity_of(request.model), pb.SummarizeResponse)

    async def StreamSummarize(
        self, request: pb.StreamSummarizeRequest, context: Any
    ) -> AsyncIterator[pb.StreamSummarizeResponse]:
        """Summarizes a text and streams the summary."""
        async with self._generations("Summarize", request, context) as (generation,):
            model = self._served.identity_of(request.model)
            async for event in stream_events(generation, model, pb.StreamSummarizeResponse, context):
                yield event

    async def Translate(self, request: pb.TranslateRequest, context: Any) -> pb.TranslateResponse:
        """Translates texts and returns complete translations."""
        async with self._generations("Translate", request, context) as generations:
            return await whole_texts(generations, self._served.identity_of(request.model), pb.TranslateResponse)

    async def StreamTranslate(
        self, request: pb.StreamTranslateRequest, context: Any
    ) -> AsyncIterator[pb.StreamTranslateResponse]:
        """Translates a text and streams the translation."""
        async with self._generations("Translate", request, context) as (generation,):
            model = self._served.identity_of(request.model)
            async for event in stream_events(generation, model, pb.StreamTranslateResponse, context):
                yield event

    @asynccontextmanager
    async def _generations(self, rpc: str, request: TextsRequest, context: Any) -> AsyncGenerator[list[Generation]]:
        """Starts a generation for each text. Cancels them when the call ends for any reason, which frees their rows."""
        verbs = self._ready(request.model)
        verb = self._able(rpc, verbs.summarizer if rpc == "Summarize" else verbs.translator)
        generations = await verb.start(texts_ask(request, context.time_remaining()))
        try:
            yield generations
        finally:
            for generation in generations:
                generation.stream.cancel()

    @asynccontextmanager
    async def _generation(
        self, request: pb.GenerateRequest | pb.StreamGenerateRequest, context: Any
    ) -> AsyncGenerator[Generation]:
        """Starts a generation. Cancels it when the call ends for any reason, which frees its row."""
        verb, seconds = self._able("Generate", self._ready(request.model).generator), context.time_remaining()
        if request.WhichOneof("input") == "chat":
            generation = await start_conversation(verb, generation_ask, request, seconds)
        else:
            generation = await verb.start(generation_ask(request, seconds))
        try:
            yield generation
        finally:
            generation.stream.cancel()
