"""Requests of every kind a service meets: read to the end, given up, refused, too late."""

import random
from collections import Counter
from dataclasses import dataclass, field

import sensorium
from sensorium.v1.common_pb2 import GenerationParameters
from sensorium.v1.text_pb2 import GenerateRequest, StreamGenerateRequest

WORDS = ("tokens", "stream", "cache", "gateway", "model", "what", "is", "the", "a", "of", "and", "page", "why", "how")


@dataclass
class Traffic:
    """Sends requests, each chosen by its number alone, and counts how they ended."""

    client: sensorium.AsyncClient
    ends: Counter[str] = field(default_factory=Counter[str])

    async def send(self, number: int) -> None:
        """Sends request `number` and waits until it ended, as it should or otherwise."""
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
        async for _ in self.client.text.stream_generate(StreamGenerateRequest(**_request(draw))):
            pass

    async def _whole(self, draw: random.Random) -> None:
        await self.client.text.generate(GenerateRequest(**_request(draw)))

    async def _give_up(self, draw: random.Random) -> None:
        async for event in self.client.text.stream_generate(StreamGenerateRequest(**_request(draw))):
            if event.HasField("delta"):
                break

    async def _refused(self, draw: random.Random) -> None:
        request = _request(draw)
        request["parameters"] = GenerationParameters(temperature=-1.0, top_p=7.0, stop_strings=[""])
        await self.client.text.generate(GenerateRequest(**request))

    async def _too_late(self, draw: random.Random) -> None:
        await self.client.text.generate(GenerateRequest(**_request(draw)), timeout=draw.uniform(0.001, 0.02))


def _request(draw: random.Random) -> dict[str, object]:
    parameters = GenerationParameters(
        max_new_tokens=draw.randint(1, 40),
        temperature=draw.choice((0.0, 0.8, 1.2)),
        top_p=draw.choice((1.0, 0.9)),
        seed=draw.randrange(1 << 31),
        repetition_penalty=draw.choice((1.0, 1.2)),
        logprob_count=draw.choice((None, None, 3)),
        stop_strings=draw.choice(((), ("\n\n",))),
    )
    return {"prompt": " ".join(draw.choices(WORDS, k=draw.randint(1, 40))), "parameters": parameters}
