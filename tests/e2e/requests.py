"""Short ways to ask for text and to read what comes back."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sensorium import AsyncClient
from sensorium.v1.common_pb2 import (
    CandidateFinish,
    Finish,
    GenerationParameters,
    GenerationStarted,
    TokenIds,
    Usage,
)
from sensorium.v1.text_pb2 import StreamGenerateRequest


@dataclass
class Read:
    """A stream that was read to its end. Text, ids and finish are those of the first candidate."""

    started: GenerationStarted = field(default_factory=GenerationStarted)
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    deltas: int = 0
    finish: Finish = field(default_factory=Finish)
    usage: Usage = field(default_factory=Usage)
    events: list[str] = field(default_factory=list)
    candidates: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The ids of each candidate."""
    finishes: list[CandidateFinish] = field(default_factory=list)

    def take(self, event: Any) -> None:
        """Takes the next event of a stream of generated text, of any RPC."""
        self.events.append(event.WhichOneof("event") or "")
        if event.HasField("started"):
            self.started = event.started
        elif event.HasField("delta"):
            self.deltas += 1
            self.candidates[event.delta.candidate_index] += event.delta.token_ids
            if event.delta.candidate_index == 0:
                self.text += event.delta.text
                self.token_ids += event.delta.token_ids
        else:
            self.finishes = list(event.completed.candidates)
            self.finish = event.completed.candidates[0].finish
            self.usage = event.completed.usage


def request(prompt: list[int], **parameters: Any) -> StreamGenerateRequest:
    """Returns a request to continue token ids."""
    return StreamGenerateRequest(prompt_token_ids=TokenIds(ids=prompt), parameters=GenerationParameters(**parameters))


async def read(client: AsyncClient, asked: StreamGenerateRequest) -> Read:
    """Reads a stream to its end."""
    result = Read()
    async for event in client.text.stream_generate(asked):
        result.take(event)
    return result
