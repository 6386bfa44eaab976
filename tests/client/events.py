"""Events and answers that tests serve."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import grpc

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as text

STARTED = text.StreamGenerateResponse(
    started=common.GenerationStarted(
        model=common.ModelIdentity(name="tiny", revision="r1"), prompt_token_count=3, seed=7
    )
)


def delta(piece: str, index: int = 0) -> text.StreamGenerateResponse:
    return text.StreamGenerateResponse(delta=common.GenerationDelta(candidate_index=index, text=piece, token_ids=[1]))


def completed(reason: common.FinishReason = common.FINISH_REASON_MAX_NEW_TOKENS) -> text.StreamGenerateResponse:
    end = common.GenerationCompleted(
        candidates=[common.CandidateFinish(finish=common.Finish(reason=reason))],
        usage=common.Usage(input_token_count=3, output_token_count=2),
    )
    end.timing.time_to_first_output.FromMilliseconds(120)
    end.timing.compute.FromMilliseconds(500)
    end.timing.total.FromMilliseconds(620)
    return text.StreamGenerateResponse(completed=end)


def says(*pieces: str) -> Callable[[Any, grpc.ServicerContext], Iterator[text.StreamGenerateResponse]]:
    """The behaviour that streams `pieces`."""

    def behaviour(request: Any, context: grpc.ServicerContext) -> Iterator[text.StreamGenerateResponse]:
        yield STARTED
        yield from map(delta, pieces)
        yield completed()

    return behaviour


class Endless:
    """The behaviour that streams until its caller leaves, which sets `left`."""

    def __init__(self) -> None:
        self.left = Event()

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Iterator[text.StreamGenerateResponse]:
        context.add_callback(self.left.set)
        yield STARTED
        while not self.left.wait(0.005):
            yield delta("x ")
