"""A generation whose events are written down, in place of the engine's."""

from collections.abc import Callable
from typing import Any

from services.engine.generation.requests.request import (
    Completed,
    Delta,
    Event,
    Finish,
    FinishReason,
    GenerationTimes,
    PromptLogprobs,
)
from services.generation.ask import Generation, ParsedAnswer

TIMES = GenerationTimes(queue=0.5, preprocess=0.25, time_to_first_output=1.5, compute=1.0, total=2.75)
COMPLETED = Completed((Finish(FinishReason.STOP_STRING, stop_string="."),), 3, 4, TIMES)
EVENTS: tuple[Event | Exception, ...] = (Delta("a", (1, 2)), Delta("é", (3,)), Delta("", (4,)), COMPLETED)


class ScriptedStream:
    """Stands where GenerationStream stands. Begins anew when it was read to its end."""

    def __init__(self, *events: Event | Exception) -> None:
        self._events = events
        self._left = iter(events)
        self.cancelled = 0

    def pass_to(self, take: Callable[[Delta], bool]) -> None:
        """Offers nothing."""

    def whole(self) -> "ScriptedStream":
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def __aiter__(self) -> "ScriptedStream":
        return self

    async def __anext__(self) -> Event:
        event = next(self._left, StopAsyncIteration())
        if isinstance(event, Exception):
            self._left = iter(self._events)
            raise event
        return event


def generation(
    *events: Event | Exception, rendered_prompt: str | None = None, parsed: tuple[ParsedAnswer, ...] = ()
) -> Generation:
    """Returns a generation with these events, or with EVENTS."""
    stream: Any = ScriptedStream(*(events or EVENTS))
    scores = any(isinstance(event, PromptLogprobs) for event in events)
    return Generation(stream, 3, 77, rendered_prompt, scores, parsed)
