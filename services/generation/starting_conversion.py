"""Starts the generation that a conversation asks for."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from sensorium.v1.common_pb2 import GenerationParameters
from services.generation.ask import Generation, GenerationAsk
from services.generation.starter import Starter
from services.generation.structure_conversion import structure_format


class Asked(Protocol):
    """The request of a conversation."""

    @property
    def parameters(self) -> GenerationParameters:
        """How to generate."""
        ...


Request = TypeVar("Request", bound=Asked)


async def start_conversation(
    generator: Starter,
    convert: Callable[[Request, float | None], GenerationAsk],
    request: Request,
    seconds: float | None,
) -> Generation:
    """Converts and starts a request whose deadline is in `seconds`, and returns its generation.

    It is converted where it is prepared, in a thread: the JSON of its tools and variables may take seconds.
    Raises what TextGenerator.start raises.
    """
    began = time.monotonic()

    def make() -> list[GenerationAsk]:
        return [convert(request, None if seconds is None else seconds - (time.monotonic() - began))]

    return (await generator.start_all(make, structure_format(request.parameters)))[0]
