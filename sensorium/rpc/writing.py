"""Sending to a caller who may have stopped reading."""

import asyncio
from typing import Any

import grpc

from sensorium.errors import SlowConsumer


async def write_within(context: grpc.aio.ServicerContext[Any, Any], message: Any, seconds: float) -> None:
    """Sends one message of a stream. By gRPC's flow control alone, this could wait for ever.

    Raises:
        SlowConsumer: the caller did not take it in time.
    """
    try:
        async with asyncio.timeout(seconds):
            await context.write(message)
    except TimeoutError:
        raise SlowConsumer(f"No message of the stream was taken for {seconds:g} s; the stream was given up.") from None
