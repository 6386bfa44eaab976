"""A generation whose events are written down, in place of the engine's."""

from collections.abc import AsyncIterator

from services.engine.generation.request import Completed, Delta, Event, Finish, FinishReason, GenerationTimes
from services.text.ask import Generation

TIMES = GenerationTimes(queue=0.5, preprocess=0.25, time_to_first_output=1.5, compute=1.0, total=2.75)
COMPLETED = Completed((Finish(FinishReason.STOP_STRING, stop_string="."),), 3, 4, TIMES)
EVENTS: tuple[Event | Exception, ...] = (Delta("a", (1, 2)), Delta("é", (3,)), Delta("", (4,)), COMPLETED)


class ScriptedStream:
    """Stands where GenerationStream stands."""

    def __init__(self, *events: Event | Exception) -> None:
        self._events = events
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1

    async def __aiter__(self) -> AsyncIterator[Event]:
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield event


def generation(*events: Event | Exception, rendered_prompt: str | None = None) -> Generation:
    """Returns a generation with these events, or with EVENTS."""
    stream = ScriptedStream(*(events or EVENTS))
    return Generation(stream, prompt_token_count=3, seed=77, rendered_prompt=rendered_prompt)  # type: ignore[arg-type]
