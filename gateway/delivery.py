"""What the caller of one relayed call has been sent so far, and the only way to send it more."""

from time import perf_counter
from typing import Any

import grpc

from gateway.answer import AnswerShape
from gateway.call import BEFORE_FIRST_MESSAGE, BEFORE_FIRST_TOKEN, CALL, STREAMING
from gateway.endpoint import EOF, Endpoint
from gateway.headers import initial_to_caller, trailing_to_caller
from gateway.metrics import GatewayMetrics
from sensorium import rpc
from sensorium.errors import BackendLost, DeadlineExceeded, Internal, SensoriumError
from sensorium.status import STATUS_KEY, from_rpc_error

Context = grpc.aio.ServicerContext[Any, Any]


class Delivery:
    """Sends an endpoint's answer to the caller, one message at a time and no faster than the caller takes them."""

    def __init__(self, context: Context, metrics: GatewayMetrics, stalled_seconds: float, shape: AnswerShape) -> None:
        self.begun = False
        """Whether anything of an answer was sent: from then on no other endpoint can answer."""
        self._context = context
        self._metrics = metrics
        self._stalled_seconds = stalled_seconds
        self._shape = shape
        self._delta_tag = shape.delta_tag
        self._call = CALL.get()

    def remaining(self) -> float | None:
        """Returns the seconds until the caller's deadline, or None if it has none.

        Raises:
            DeadlineExceeded: it has passed.
        """
        remaining: Any = self._context.time_remaining()
        if remaining is not None and remaining <= 0:
            raise DeadlineExceeded("The deadline has passed.")
        return remaining

    async def whole(self, call: Any, endpoint: Endpoint) -> bytes:
        """Returns the one message of `call`, with its metadata on their way."""
        message: bytes = await call
        self._call.usage = self._shape.usage(message)
        await self._open(await call.initial_metadata(), endpoint)
        self._context.set_trailing_metadata(trailing_to_caller(await call.trailing_metadata()))
        return message

    async def stream(self, call: Any, endpoint: Endpoint) -> None:
        """Sends all messages of `call`.

        Raises:
            AioRpcError: the endpoint's call failed.
            SlowConsumer: the caller took nothing for too long.
        """
        last = b""
        # Read and written one by one, gRPC's flow control reaches from the caller to the endpoint.
        while (message := await call.read()) is not EOF:
            if not self.begun:
                await self._open(await call.initial_metadata(), endpoint)
            await self._send(message)
            last = message
        self._call.last_message = perf_counter()
        self._call.usage = self._shape.usage(last)
        if not self.begun:
            await self._open(await call.initial_metadata(), endpoint)
        self._context.set_trailing_metadata(trailing_to_caller(await call.trailing_metadata()))

    async def fail(self, error: grpc.aio.AioRpcError, endpoint: Endpoint) -> None:
        """Ends the caller's call as the endpoint's ended; never returns.

        A status with details goes on unchanged. One without was made by gRPC, here or there, and is told in our words.
        """
        lost = self.begun
        if not self.begun:
            await self._open(error.initial_metadata() or (), endpoint)
        trailing = trailing_to_caller(error.trailing_metadata() or ())
        if any(key == STATUS_KEY for key, _ in trailing):
            await self._context.abort(error.code(), error.details() or "", trailing)
        raise _in_our_words(error, lost)

    async def _open(self, initial: Any, endpoint: Endpoint) -> None:
        self.begun = True
        await self._context.send_initial_metadata(initial_to_caller(initial, endpoint.address))

    async def _send(self, message: bytes) -> None:
        await rpc.write_within(self._context, message, self._stalled_seconds)
        if self._delta_tag and message.startswith(self._delta_tag):
            self._delta_tag = b""
            self._metrics.first_token_relayed(self._call)
        elif self._call.phase is BEFORE_FIRST_MESSAGE:
            self._call.phase = BEFORE_FIRST_TOKEN if self._delta_tag else STREAMING


def _in_our_words(error: grpc.aio.AioRpcError, lost: bool) -> SensoriumError:
    code = error.code()
    if code is grpc.StatusCode.UNAVAILABLE:
        # gRPC's text names addresses inside the cluster.
        when = "in the middle of the stream" if lost else "before it answered"
        return BackendLost(f"The endpoint was lost {when}.")
    if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        return Internal()
    return from_rpc_error(error)
