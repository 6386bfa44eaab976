"""Conversations with media, as requests carry them, and their streams read to the end."""

from typing import Any

from PIL import Image

from sensorium import AsyncClient
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as pb
from tests import sounds
from tests.e2e.pictures import media
from tests.e2e.requests import Read
from tests.own_multimodal import Said
from tests.tiny.media_readers import RATE


def part(said: Said) -> pb.ContentPart:
    """Returns a piece; images as PNG, recordings as WAV of floating-point samples."""
    if isinstance(said, str):
        return pb.ContentPart(text=said)
    if isinstance(said, Image.Image):
        return pb.ContentPart(image=media(said))
    return pb.ContentPart(audio=sounds.media(said, RATE))


def prompt(*said: Said) -> pb.MultimodalPrompt:
    """Returns one turn of a user."""
    return pb.MultimodalPrompt(
        messages=[pb.MultimodalMessage(role=common.ROLE_USER, parts=[part(each) for each in said])]
    )


def request(*said: Said, **parameters: Any) -> pb.MultimodalServiceStreamGenerateRequest:
    """Returns a request that continues one turn of a user, 12 tokens and greedily if nothing else is said."""
    parameters = {"temperature": 0.0, "max_new_tokens": 12, "ignore_eos": True} | parameters
    return pb.MultimodalServiceStreamGenerateRequest(
        prompt=prompt(*said), parameters=common.GenerationParameters(**parameters)
    )


async def read(client: AsyncClient, asked: pb.MultimodalServiceStreamGenerateRequest) -> Read:
    """Reads a stream to its end."""
    result = Read()
    async for event in client.multimodal.stream_generate(asked):
        result.take(event)
    return result
