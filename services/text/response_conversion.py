"""The edge of the text service, outward: plain values as messages of the contract."""

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.answer_conversion import duration
from services.engine.language.texts import EncodedToken
from services.engine.turns import resting


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
            for t in resting(tokens)
        ]
    )
