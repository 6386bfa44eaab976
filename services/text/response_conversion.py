"""The edge of the text service, outward: plain values as messages of the contract."""

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
    FinishReason.STRUCTURE_COMPLETE: common.FINISH_REASON_STRUCTURE_COMPLETE,
}


def started_event(generation: Generation, identity: common.ModelIdentity) -> pb.StreamGenerateResponse:
    """Returns the event that opens a stream."""
    return pb.StreamGenerateResponse(
        started=common.GenerationStarted(
            model=identity,
            prompt_token_count=generation.prompt_token_count,
            seed=generation.seed,
            rendered_prompt=generation.rendered_prompt,
        )
    )


def stream_event(event: Event) -> pb.StreamGenerateResponse:
    """Returns a later event of a stream."""
    if isinstance(event, Delta):
        return pb.StreamGenerateResponse(
            delta=common.GenerationDelta(text=event.text, token_ids=event.token_ids, logprobs=_logprobs(event))
        )
    return pb.StreamGenerateResponse(
        completed=common.GenerationCompleted(
            candidates=[common.CandidateFinish(finish=_finish(event.finish))],
            usage=_usage(event),
            timing=timing(event.times),
        )
    )


async def whole_response(generation: Generation, identity: common.ModelIdentity) -> pb.GenerateResponse:
    """Reads a generation to its end and returns it as one message."""
    candidate = common.GeneratedCandidate()
    response = pb.GenerateResponse(model=identity, seed=generation.seed, rendered_prompt=generation.rendered_prompt)
    texts: list[str] = []
    async for event in generation.stream:
        if isinstance(event, Delta):
            texts.append(event.text)
            candidate.token_ids.extend(event.token_ids)
            candidate.logprobs.extend(_logprobs(event))
        else:
            candidate.finish.CopyFrom(_finish(event.finish))
            response.usage.CopyFrom(_usage(event))
            response.timing.CopyFrom(timing(event.times))
    candidate.text = "".join(texts)
    response.candidates.append(candidate)
    return response


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


def _usage(event: Completed) -> common.Usage:
    return common.Usage(
        input_token_count=event.input_token_count,
        cached_token_count=event.cached_token_count,
        output_token_count=event.output_token_count,
    )


def _finish(finish: Finish) -> common.Finish:
    message = common.Finish(reason=_REASONS[finish.reason])
    if finish.stop_string is not None:
        message.stop_string = finish.stop_string
    elif finish.token_id is not None:
        message.token_id = finish.token_id
    return message
