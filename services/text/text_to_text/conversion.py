"""Converts requests and results of Summarize and Translate between protobuf and plain values."""

import asyncio
import time
from typing import TypeVar

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.engine.generation.requests.request import GenerationTimes
from services.engine.language.texts import Truncation
from services.enums import unknown_enum_numbers
from services.generation.ask import Generation
from services.generation.parameters_conversion import delivered_tokens, generation_options
from services.generation.response_conversion import read_whole, timing, usage
from services.text.text_to_text.ask import TextsAsk

_TRUNCATIONS = {pb.TRUNCATION_START: Truncation.START, pb.TRUNCATION_END: Truncation.END}

TextsRequest = pb.SummarizeRequest | pb.StreamSummarizeRequest | pb.TranslateRequest | pb.StreamTranslateRequest
TextsResponse = TypeVar("TextsResponse", pb.SummarizeResponse, pb.TranslateResponse)


def texts_ask(request: TextsRequest, seconds: float | None) -> TextsAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    wrong = list(unknown_enum_numbers(request))
    instruction, source, target = None, "", ""
    if isinstance(request, pb.SummarizeRequest | pb.StreamSummarizeRequest):
        instruction = request.instruction if request.HasField("instruction") else None
    else:
        source, target = request.source_language, request.target_language
    if isinstance(request, pb.SummarizeRequest | pb.TranslateRequest):
        texts, delivered, batched = list(request.texts), (), True
    else:
        texts, delivered, batched = [request.text], delivered_tokens(request.delivered), False
    return TextsAsk(
        texts=texts,
        batched=batched,
        instruction=instruction,
        source_language=source,
        target_language=target,
        truncation=_TRUNCATIONS.get(request.truncation, Truncation.NONE),
        options=generation_options(request.parameters),
        delivered=delivered,
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=tuple(wrong),
    )


async def whole_texts(
    generations: list[Generation], identity: common.ModelIdentity, kind: type[TextsResponse]
) -> TextsResponse:
    """Reads all generations concurrently to their ends, and returns them as one message."""
    read = await asyncio.gather(*map(read_whole, generations))
    return kind(
        model=identity,
        results=[pb.GeneratedCandidateList(candidates=candidates) for candidates, _ in read],
        seed=generations[0].seed,
        usage=usage(*(completed for _, completed in read)),
        timing=timing(together([completed.times for _, completed in read])),
    )


def together(times: list[GenerationTimes]) -> GenerationTimes:
    """Combines the times of generations that ran concurrently, as those of one request.

    Their `compute` is not added up, because each counts the same shared steps.
    """
    return GenerationTimes(
        queue=min(each.queue for each in times),
        preprocess=max(each.preprocess for each in times),
        time_to_first_output=min(each.time_to_first_output for each in times),
        compute=max(each.compute for each in times),
        total=max(each.total for each in times),
    )
