"""Converts the events and results of generation to messages."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.answer_conversion import duration
from services.engine.generation.requests.request import (
    Completed,
    Delta,
    Event,
    Finish,
    FinishReason,
    GenerationTimes,
    TokenLogprob,
)
from services.generation.ask import Generation, ParsedAnswer
from services.generation.message_conversion import add_end, add_text

_REASONS = {
    FinishReason.END_OF_SEQUENCE: common.FINISH_REASON_END_OF_SEQUENCE,
    FinishReason.STOP_STRING: common.FINISH_REASON_STOP_STRING,
    FinishReason.STOP_TOKEN: common.FINISH_REASON_STOP_TOKEN,
    FinishReason.MAX_NEW_TOKENS: common.FINISH_REASON_MAX_NEW_TOKENS,
    FinishReason.CONTEXT_LENGTH: common.FINISH_REASON_CONTEXT_LENGTH,
    FinishReason.STRUCTURE_COMPLETE: common.FINISH_REASON_STRUCTURE_COMPLETE,
}

_MOST = 2**31 - 1
_TURN = 64
"""Log-probabilities of a prompt that are converted before other streams have their turn."""


GeneratedEvent = TypeVar("GeneratedEvent")
"""The message of an RPC: one event of a stream, or a whole answer."""


async def started_event(
    generation: Generation, identity: common.ModelIdentity, kind: Callable[..., GeneratedEvent]
) -> GeneratedEvent:
    """Returns the first event of a stream, once all of it is known, as a message `kind`."""
    return kind(
        started=common.GenerationStarted(
            model=identity,
            prompt_token_count=generation.prompt_token_count,
            seed=generation.seed,
            rendered_prompt=generation.rendered_prompt,
            prompt_logprobs=await prompt_logprobs(generation),
        )
    )


async def stream_events(
    generation: Generation, identity: common.ModelIdentity, kind: Callable[..., GeneratedEvent], context: Any
) -> AsyncIterator[GeneratedEvent]:
    """Yields a stream's events as messages `kind`, except deltas that could be sent at once (ADR 50)."""
    yield await started_event(generation, identity, kind)
    if not generation.parsed:  # a delta is offered again if it could not be sent, but parsed only once
        generation.stream.pass_to(lambda delta: context.offer(stream_event(delta, kind)))
    async for event in generation.stream:
        message: Any = stream_event(event, kind)
        if generation.parsed:
            await _parse(event, message, generation.parsed)
        yield message


async def _parse(event: Event, message: Any, parsed: Sequence[ParsedAnswer]) -> None:
    """Adds what an event adds to the answers to its message."""
    if isinstance(event, Delta):
        await add_text(message.delta.message, parsed[event.candidate_index], event.text)
    elif isinstance(event, Completed):
        for candidate, answer, finish in zip(message.completed.candidates, parsed, event.finishes, strict=True):
            add_end(candidate.message, answer, finish)


def stream_event(event: Event, kind: Callable[..., GeneratedEvent]) -> GeneratedEvent:
    """Returns a later event of a stream as a message `kind`."""
    if isinstance(event, Delta):
        message: Any = kind()
        # In place: a delta passed to `kind` would be copied, which takes three times as long.
        delta: common.GenerationDelta = message.delta
        delta.candidate_index, delta.text = event.candidate_index, event.text
        delta.token_ids.extend(event.token_ids)
        if event.logprobs:
            delta.logprobs.extend(map(_logprob, event.logprobs))
        return message
    assert isinstance(event, Completed)
    return kind(
        completed=common.GenerationCompleted(
            candidates=[
                common.CandidateFinish(candidate_index=i, finish=_finish(finish))
                for i, finish in enumerate(event.finishes)
            ],
            usage=usage(event),
            timing=timing(event.times),
        )
    )


async def whole_response(
    generation: Generation, identity: common.ModelIdentity, kind: Callable[..., GeneratedEvent]
) -> GeneratedEvent:
    """Reads a generation to its end and returns it as one message `kind`."""
    entries = await prompt_logprobs(generation)
    candidates, completed = await read_whole(generation)
    return kind(
        model=identity,
        candidates=candidates,
        seed=generation.seed,
        rendered_prompt=generation.rendered_prompt,
        prompt_logprobs=entries,
        usage=usage(completed),
        timing=timing(completed.times),
    )


async def read_whole(generation: Generation) -> tuple[list[common.GeneratedCandidate], Completed]:
    """Reads a generation to its end and returns its candidates, by index, and how it ended."""
    candidates: defaultdict[int, common.GeneratedCandidate] = defaultdict(common.GeneratedCandidate)
    texts: defaultdict[int, list[str]] = defaultdict(list)
    async for event in generation.stream.whole():
        if isinstance(event, Delta):
            candidates[event.candidate_index].token_ids.extend(event.token_ids)
            candidates[event.candidate_index].logprobs.extend(map(_logprob, event.logprobs))
            texts[event.candidate_index].append(event.text)
            if generation.parsed:
                answer = generation.parsed[event.candidate_index]
                await add_text(candidates[event.candidate_index].message, answer, event.text)
        elif isinstance(event, Completed):
            for i, finish in enumerate(event.finishes):
                candidates[i].candidate_index, candidates[i].text = i, "".join(texts[i])
                candidates[i].finish.CopyFrom(_finish(finish))
                if generation.parsed:
                    candidates[i].message.SetInParent()
                    add_end(candidates[i].message, generation.parsed[i], finish)
            return [candidates[i] for i in range(len(event.finishes))], event
    raise AssertionError("a stream ends with Completed, or raises")


def timing(times: GenerationTimes) -> common.Timing:
    """Returns seconds as durations."""
    return common.Timing(
        queue=duration(times.queue),
        preprocess=duration(times.preprocess),
        time_to_first_output=duration(times.time_to_first_output),
        compute=duration(times.compute),
        total=duration(times.total),
    )


def logprob_bytes(text_bytes: list[int]) -> tuple[int, ...]:
    """Returns the most bytes of a token's log-probability in a message, with 0, 1, 2, … alternatives.

    `text_bytes` are the longest texts that alternatives can have, the longest first.
    """
    sizes: list[int] = []
    for count in range(len(text_bytes) + 1):
        alternatives = [
            common.TokenLogprob.Alternative(token_id=_MOST, logprob=-1, text="x" * size) for size in text_bytes[:count]
        ]
        entry = common.TokenLogprob(token_id=_MOST, logprob=-1, rank=_MOST, alternatives=alternatives)
        sizes.append(pb.GenerateResponse(prompt_logprobs=[entry]).ByteSize())
    return tuple(sizes)


async def prompt_logprobs(generation: Generation) -> list[common.TokenLogprob]:
    """Returns the log-probability of each prompt token, if asked for. To be called before the stream is read."""
    entries: list[common.TokenLogprob] = []
    for entry in await generation.prompt_logprobs():
        entries.append(_logprob(entry))
        if len(entries) % _TURN == 0:
            await asyncio.sleep(0)
    return entries


def _logprob(entry: TokenLogprob) -> common.TokenLogprob:
    return common.TokenLogprob(
        token_id=entry.token_id,
        logprob=entry.logprob,
        rank=entry.rank,
        alternatives=[
            common.TokenLogprob.Alternative(token_id=other.token_id, logprob=other.logprob, text=other.text)
            for other in entry.alternatives
        ],
    )


def usage(*ends: Completed) -> common.Usage:
    """Returns the usage of generations that are answered together."""
    seconds = [end.audio_seconds for end in ends if end.audio_seconds is not None]
    return common.Usage(
        input_token_count=sum(end.input_token_count for end in ends),
        cached_token_count=sum(end.cached_token_count for end in ends),
        output_token_count=sum(end.output_token_count for end in ends),
        image_count=sum(end.image_count for end in ends),
        proposed_token_count=sum(end.proposed_token_count for end in ends),
        accepted_token_count=sum(end.accepted_token_count for end in ends),
        audio_duration=duration(sum(seconds)) if seconds else None,
    )


def _finish(finish: Finish) -> common.Finish:
    message = common.Finish(reason=_REASONS[finish.reason])
    if finish.stop_string is not None:
        message.stop_string = finish.stop_string
    elif finish.token_id is not None:
        message.token_id = finish.token_id
    return message
