"""The edge of the text service, outward: plain values as messages of the contract."""

from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.engine.generation.request import Completed, Delta, Event, Finish, FinishReason, GenerationTimes
from services.engine.texts import EncodedToken
from services.text.ask import Generation

_REASONS = {
    FinishReason.END_OF_SEQUENCE: common.FINISH_REASON_END_OF_SEQUENCE,
    FinishReason.STOP_STRING: common.FINISH_REASON_STOP_STRING,
    FinishReason.STOP_TOKEN: common.FINISH_REASON_STOP_TOKEN,
    FinishReason.MAX_NEW_TOKENS: common.FINISH_REASON_MAX_NEW_TOKENS,
    FinishReason.CONTEXT_LENGTH: common.FINISH_REASON_CONTEXT_LENGTH,
}


GeneratedEvent = TypeVar(
    "GeneratedEvent", pb.StreamGenerateResponse, pb.StreamSummarizeResponse, pb.StreamTranslateResponse
)


def started_event(
    generation: Generation, identity: common.ModelIdentity, kind: type[GeneratedEvent] = pb.StreamGenerateResponse
) -> GeneratedEvent:
    """Returns the event that opens a stream, in the message of its RPC."""
    return kind(
        started=common.GenerationStarted(
            model=identity,
            prompt_token_count=generation.prompt_token_count,
            seed=generation.seed,
            rendered_prompt=generation.rendered_prompt,
        )
    )


def stream_event(event: Event, kind: type[GeneratedEvent] = pb.StreamGenerateResponse) -> GeneratedEvent:
    """Returns a later event of a stream, in the message of its RPC."""
    if isinstance(event, Delta):
        return kind(delta=common.GenerationDelta(text=event.text, token_ids=event.token_ids, logprobs=_logprobs(event)))
    return kind(
        completed=common.GenerationCompleted(
            candidates=[common.CandidateFinish(finish=_finish(event.finish))],
            usage=usage(event),
            timing=timing(event.times),
        )
    )


async def whole_response(generation: Generation, identity: common.ModelIdentity) -> pb.GenerateResponse:
    """Reads a generation to its end and returns it as one message."""
    candidates, completed = await read_whole(generation)
    return pb.GenerateResponse(
        model=identity,
        candidates=candidates,
        seed=generation.seed,
        rendered_prompt=generation.rendered_prompt,
        usage=usage(completed),
        timing=timing(completed.times),
    )


async def read_whole(generation: Generation) -> tuple[list[common.GeneratedCandidate], Completed]:
    """Reads a generation to its end and returns its candidates and how it ended."""
    candidate = common.GeneratedCandidate()
    texts: list[str] = []
    async for event in generation.stream:
        if isinstance(event, Completed):
            candidate.text = "".join(texts)
            candidate.finish.CopyFrom(_finish(event.finish))
            return [candidate], event
        texts.append(event.text)
        candidate.token_ids.extend(event.token_ids)
        candidate.logprobs.extend(_logprobs(event))
    raise AssertionError("a stream ends with Completed or raises")


def timing(times: GenerationTimes) -> common.Timing:
    """Returns seconds as durations."""
    return common.Timing(
        queue=duration(times.queue),
        preprocess=duration(times.preprocess),
        time_to_first_output=duration(times.time_to_first_output),
        compute=duration(times.compute),
        total=duration(times.total),
    )


def immediate_timing(seconds: float) -> common.Timing:
    """Returns the timing of a request that no queue held and no model worked on."""
    return common.Timing(
        queue=duration(0), preprocess=duration(seconds), time_to_first_output=duration(seconds),
        compute=duration(0), total=duration(seconds),
    )  # fmt: skip


def duration(seconds: float) -> Duration:
    """Returns seconds, at least 0, as a duration."""
    nanoseconds = max(round(seconds * 1e9), 0)
    return Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)


def token_list(tokens: list[EncodedToken]) -> pb.TokenizeResponse.TokenList:
    """Returns the tokens of one text."""
    return pb.TokenizeResponse.TokenList(
        tokens=[
            pb.TokenizeResponse.Token(id=t.id, piece=t.piece, special=t.special, start=t.start, end=t.end)
            for t in tokens
        ]
    )


def _logprobs(delta: Delta) -> list[common.TokenLogprob]:
    return [
        common.TokenLogprob(
            token_id=entry.token_id,
            logprob=entry.logprob,
            rank=entry.rank,
            alternatives=[
                common.TokenLogprob.Alternative(token_id=other.token_id, logprob=other.logprob, text=other.text)
                for other in entry.alternatives
            ],
        )
        for entry in delta.logprobs
    ]


def usage(*ends: Completed) -> common.Usage:
    """Returns what generations that are answered together consumed."""
    return common.Usage(
        input_token_count=sum(end.input_token_count for end in ends),
        cached_token_count=sum(end.cached_token_count for end in ends),
        output_token_count=sum(end.output_token_count for end in ends),
    )


def _finish(finish: Finish) -> common.Finish:
    message = common.Finish(reason=_REASONS[finish.reason])
    if finish.stop_string is not None:
        message.stop_string = finish.stop_string
    elif finish.token_id is not None:
        message.token_id = finish.token_id
    return message
