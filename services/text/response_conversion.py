"""The edge of the text service, outward: plain values as messages of the contract."""

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.answer_conversion import duration
from services.engine.texts import EncodedToken
from services.generation.ask import Generation
from services.generation.response_conversion import prompt_logprobs, read_whole, timing, usage


async def whole_response(generation: Generation, identity: common.ModelIdentity) -> pb.GenerateResponse:
    """Reads a generation to its end and returns it as one message."""
    entries = await prompt_logprobs(generation)
    candidates, completed = await read_whole(generation)
    return pb.GenerateResponse(
        model=identity,
        candidates=candidates,
        seed=generation.seed,
        rendered_prompt=generation.rendered_prompt,
        prompt_logprobs=entries,
        usage=usage(completed),
        timing=timing(completed.times),
    )


def immediate_timing(seconds: float) -> common.Timing:
    """Returns the timing of a request that no queue held and no model worked on."""
    return common.Timing(
        queue=duration(0), preprocess=duration(seconds), time_to_first_output=duration(seconds),
        compute=duration(0), total=duration(seconds),
    )  # fmt: skip


def token_list(tokens: list[EncodedToken]) -> pb.TokenizeResponse.TokenList:
    """Returns the tokens of one text."""
    return pb.TokenizeResponse.TokenList(
        tokens=[
            pb.TokenizeResponse.Token(id=t.id, piece=t.piece, special=t.special, start=t.start, end=t.end)
            for t in tokens
        ]
    )
