"""Converts results of Tokenize and Detokenize to protobuf."""

from itertools import islice

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.answer_conversion import duration
from services.engine.language.texts import EncodedText
from services.engine.threads.turns import resting

_CHUNK = 4_096
"""Tokens converted in one call, which holds the GIL for one or two milliseconds. A text may have a million."""


def immediate_timing(seconds: float) -> common.Timing:
    """Returns the timing of a request that needed neither the queue nor the model."""
    return common.Timing(
        queue=duration(0), preprocess=duration(seconds), time_to_first_output=duration(seconds),
        compute=duration(0), total=duration(seconds),
    )  # fmt: skip


def add_tokens(response: pb.TokenizeResponse, tokens: EncodedText) -> int:
    """Adds the tokens of one text to a response, and returns their number."""
    told, left = response.results.add(), resting(tokens)
    while some := [
        pb.TokenizeResponse.Token(id=t.id, piece=t.piece, special=t.special, start=t.start, end=t.end)
        for t in islice(left, _CHUNK)
    ]:
        told.tokens.extend(some)
    return len(tokens)
