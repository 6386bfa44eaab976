"""Sends requests of every kind that a service meets: completed, cancelled, refused, past their deadline."""

import random
from collections import Counter
from dataclasses import dataclass, field

import sensorium
from sensorium.v1.common_pb2 import GenerationParameters
from sensorium.v1.text_pb2 import GenerateRequest, StreamGenerateRequest

WORDS = ("tokens", "stream", "cache", "gateway", "model", "what", "is", "the", "a", "of", "and", "page", "why", "how")


@dataclass
class Traffic:
    """Sends requests, whose kind depends only on their number, and counts how they ended."""

    client: sensorium.AsyncClient
    ends: Counter[str] = field(default_factory=Counter[str])

    async def send(self, number: int) -> None:
        """Sends request `number` and waits until it has ended, as expected or not."""
        draw = random.Random(number)
        kind = draw.choices(("stream", "whole", "given up", "refused", "too late"), (60, 15, 12, 8, 5))[0]
        try:
            await {
                "stream": self._stream,
                "whole": self._whole,
                "given up": self._give_up,
                "refused": self._refused,
                "too late": self._too_late,
            }[kind](draw)
        except sensorium.SensoriumError as error:
            self.ends[f"{kind}: {type(error).__name__}"] += 1
        else:
            self.ends[kind] += 1

    async def _stream(self, draw: random.Random) -> None:
        async for _ in self.client.text.stream_generate(_stream_request(draw)):
            pass

    async def _whole(self, draw: random.Random) -> None:
        await self.client.text.generate(_whole_request(draw))

    async def _give_up(self, draw: random.Random) -> None:
        async for event in self.client.text.stream_generate(_stream_request(draw)):
            if event.HasField("delta"):
                break

    async def _refused(self, draw: random.Random) -> None:
        request = _whole_request(draw)
        request.parameters.CopyFrom(GenerationParameters(temperature=-1.0, top_p=7.0, stop_strings=[""]))
        await self.client.text.generate(request)

    async def _too_late(self, draw: random.Random) -> None:
        await self.client.text.generate(_whole_request(draw), timeout=draw.uniform(0.001, 0.02))


def _whole_request(draw: random.Random) -> GenerateRequest:
    return GenerateRequest(parameters=_parameters(draw), prompt=_prompt(draw))


def _stream_request(draw: random.Random) -> StreamGenerateRequest:
    return StreamGenerateRequest(parameters=_parameters(draw), prompt=_prompt(draw))


def _prompt(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(1, 40)))


def _parameters(draw: random.Random) -> GenerationParameters:
    return GenerationParameters(
        max_new_tokens=draw.randint(1, 40),
        temperature=draw.choice((0.0, 0.8, 1.2)),
        top_p=draw.choice((1.0, 0.9)),
        seed=draw.randrange(1 << 31),
        repetition_penalty=draw.choice((1.0, 1.2)),
        logprob_count=draw.choice((None, None, 3)),
        stop_strings=draw.choice(((), ("\n\n",))),
    )
