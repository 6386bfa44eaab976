"""The typed client, blocking and for asyncio."""

from sensorium.client.awaited.client import AsyncClient
from sensorium.client.awaited.generation import AsyncMessageStream, AsyncTextStream
from sensorium.client.awaited.stream import AsyncStream
from sensorium.client.blocking.client import Client
from sensorium.client.blocking.generation import MessageStream, TextStream
from sensorium.client.blocking.stream import Stream
from sensorium.client.call import CallOptions, Reply
from sensorium.client.generation import GenerationOptions
from sensorium.client.retry import Retry
from sensorium.client.tls import TLS

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncMessageStream",
    "AsyncStream",
    "AsyncTextStream",
    "CallOptions",
    "Client",
    "GenerationOptions",
    "MessageStream",
    "Reply",
    "Retry",
    "Stream",
    "TextStream",
]
