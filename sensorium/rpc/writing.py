"""Sending to a caller who may have stopped reading."""

from typing import Any

from sensorium.errors import SlowConsumer


async def write_within(context: Any, message: Any, seconds: float) -> None:
    """Sends one message of a stream. By flow control alone, this could wait for ever.

    Raises:
        SlowConsumer: the caller did not take it in time.
    """
    try:
        await context.write(message, seconds)
    except TimeoutError:
        raise SlowConsumer(f"No message of the stream was taken for {seconds:g} s; the stream was given up.") from None
