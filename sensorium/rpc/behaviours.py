"""The four arities of a call, each run inside a guard that sees everything that goes wrong in it.

A guard surrounds the decoding of the request and the encoding of the answer too: done by gRPC itself, before or after
the handler, they would answer a caller's broken bytes with UNKNOWN and the class name of a Python exception.
"""

import inspect
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from sensorium.call_record import CallRecord
from sensorium.errors import InvalidArgument
from sensorium.rpc.answers import note
from sensorium.rpc.reading import read_within
from sensorium.rpc.request_ids import echo
from sensorium.rpc.writing import write_within

# A text, since gRPC's own class takes no parameters when the program runs.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = grpc.aio.ServicerContext[Any, Any]
Guard = Callable[[Context], AbstractAsyncContextManager[CallRecord]]
Decode = Callable[[bytes], Any]


@dataclass(frozen=True)
class Patience:
    """How long a stream's caller may do nothing, in seconds."""

    unread: float
    """With a message to take."""
    silent: float
    """With a message awaited."""


def guarded(handler: Handler, guard: Guard, patience: Patience) -> Handler:
    """Returns a handler that runs `handler` inside `guard`, and gives up a caller whose stream stands still.

    Handlers are coroutine functions, or asynchronous generator functions where they answer with a stream. Requests of
    a stream are decoded as the handler iterates over them; one that calls `context.read()` gets the raw bytes.
    """
    decode = _decoder(handler.request_deserializer)
    encode = handler.response_serializer
    if handler.response_streaming:
        behaviour: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream
        stream: Any = _stream(behaviour, decode, guard, patience)
        wrap = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return wrap(stream, None, encode)
    behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
    whole: Any = _whole(behaviour, decode, encode or bytes, guard, patience)
    wrap = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    return wrap(whole, None, None)


def _whole(behaviour: Any, decode: Decode, encode: Callable[[Any], bytes], guard: Guard, patience: Patience) -> Any:
    async def answer(request: Any, context: Context) -> bytes:
        async with guard(context) as record:
            message = await behaviour(_decoded(request, decode, patience), context)
            note(record, message)
            return encode(message)
        raise AssertionError("a guard does not swallow errors")

    return answer


def _stream(behaviour: Any, decode: Decode, guard: Guard, patience: Patience) -> Any:
    generates = inspect.isasyncgenfunction(behaviour)

    async def answer(request: Any, context: Context) -> None:
        async with guard(context) as record:
            if generates:
                # Closed here, and not by the garbage collector: a handler's `finally` runs before the call ends.
                async with aclosing(behaviour(_decoded(request, decode, patience), context)) as messages:
                    message = None
                    async for message in messages:
                        if record.first_sent is None:
                            record.first_sent = time.monotonic()
                            await echo(context, record.request_id)
                        await write_within(context, message, patience.unread)
                    note(record, message)
            else:
                await behaviour(_decoded(request, decode, patience), context)

    return answer


def _decoded(request: Any, decode: Decode, patience: Patience) -> Any:
    if request is None:
        raise InvalidArgument([], "The call ended before its message came.")
    return decode(request) if isinstance(request, bytes) else _each(request, decode, patience)


async def _each(requests: AsyncIterable[bytes], decode: Decode, patience: Patience) -> AsyncIterator[Any]:
    # A handler may read by itself: gRPC's iterator is not even made before it is asked for.
    messages = aiter(requests)
    while True:
        try:
            request = await read_within(anext(messages), patience.silent)
        except StopAsyncIteration:
            return
        yield decode(request)


def _decoder(deserializer: Decode | None) -> Decode:
    """Returns `deserializer` with its failures as `InvalidArgument`; None is the identity, for raw bytes."""
    if deserializer is None:
        return bytes

    def decode(data: bytes) -> Any:
        try:
            return deserializer(data)
        except (DecodeError, UnicodeDecodeError) as error:
            raise InvalidArgument([], "The bytes of the request are not a message of its type.") from error

    return decode
