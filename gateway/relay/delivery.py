"""The caller's side of one relayed call: sends the endpoint's messages, metadata and status to the caller."""

from collections.abc import Callable
from time import perf_counter
from typing import Any, NoReturn

import grpc

from gateway.admission import Lease
from gateway.config import GatewaySettings
from gateway.metrics import GatewayMetrics
from gateway.relay.answer import AnswerShape
from gateway.relay.call import BEFORE_FIRST_MESSAGE, BEFORE_FIRST_TOKEN, CALL, STREAMING
from gateway.relay.failure import EndpointSilent, Failure, NoAnswer
from gateway.relay.headers import initial_to_caller, trailing_to_caller
from gateway.relay.resumption import CannotGoOn, Resumption
from gateway.relay.silence import Silence
from sensorium import rpc
from sensorium.errors import BackendLost, DeadlineExceeded, Internal, SensoriumError
from sensorium.rpc.http2.client_call import ClientCall
from sensorium.rpc.wire import Malformed
from sensorium.status import STATUS_KEY, from_rpc_error
from sensorium.v1.common_pb2 import Usage

Context = grpc.aio.ServicerContext[Any, Any]


class Delivery:
    """Sends one call's answer to its caller, message by message, no faster than the caller reads (backpressure)."""

    def __init__(
        self,
        context: Context,
        metrics: GatewayMetrics,
        settings: GatewaySettings,
        shape: AnswerShape,
        resumption: Resumption | None = None,
    ) -> None:
        """For the call of the current task. With a `resumption`, another endpoint can continue a lost stream."""
        self.begun = False
        """Whether any part of the answer was sent. After that, the call cannot be retried from its beginning."""
        self.resumption = resumption
        self._context = context
        server: Any = context
        self._offer: Callable[[bytes], bool] = server.offer
        self._metrics = metrics
        self._settings = settings
        self._shape = shape
        self._delta_tag = shape.delta_tag
        self._call = CALL.get()
        self._last = b""

    def remaining(self) -> float | None:
        """Returns the seconds until the caller's deadline or the end of `call_seconds`, or None if neither exists.

        Raises:
            DeadlineExceeded: it has passed.
        """
        remaining: Any = self._context.time_remaining()
        if self._settings.call_seconds is not None:
            own = self._settings.call_seconds - (perf_counter() - self._call.begun)
            remaining = own if remaining is None else min(own, remaining)
        if remaining is not None and remaining <= 0:
            raise DeadlineExceeded("The deadline has passed.")
        return remaining

    def silence(self) -> Silence:
        """Returns a new watchdog for one attempt."""
        return Silence(self._settings, bool(self._shape.delta_tag))

    async def whole(self, call: ClientCall, lease: Lease) -> bytes:
        """Returns the single message of `call`, after sending initial metadata and setting trailing metadata.

        Raises:
            AioRpcError: the endpoint's call failed.
            NoAnswer: the call ended with OK but without a message, or with a malformed one.
        """
        message = await call.answer()
        if message is None:
            raise NoAnswer
        self._call.usage = self._usage(message)
        await self._begin(call.initial, lease)
        self._context.set_trailing_metadata(trailing_to_caller(call.trailing))
        return message

    async def stream(self, call: ClientCall, lease: Lease, silence: Silence) -> None:
        """Sends all messages of `call` to the caller.

        Raises:
            AioRpcError: the endpoint's call failed.
            EndpointSilent: the endpoint sent nothing for too long.
            NoAnswer: the call ended with OK but without the `completed` event.
            CannotGoOn: the endpoint refused to continue another endpoint's stream.
            SlowConsumer: the caller read nothing for too long.
        """
        self._last = b""
        if self.begun:
            await self._resume(silence, call, lease)
        call.pass_to(lambda message: self._pass_on(message, silence))
        # One message is read only after the previous one was written, so flow control reaches from caller to endpoint.
        while (message := await self._next(call, silence)) is not None:
            if not self.begun:
                await self._begin(call.initial, lease)
            await self._send(message)
            self._sent(message)
        last = self._last
        if not self._shape.closes(last):
            raise NoAnswer
        self._call.last_message = perf_counter()
        self._call.usage = self._usage(last)
        self._context.set_trailing_metadata(trailing_to_caller(call.trailing))

    async def fail(self, failure: Failure, lease: Lease) -> NoReturn:
        """Ends the caller's call with the failure of the endpoint's call.

        A status with details is forwarded unchanged. One without details was made by gRPC and is replaced by an error
        of the contract.
        """
        error, lost = failure.error, self.begun
        if isinstance(error, EndpointSilent):
            raise BackendLost(f"The endpoint was silent for {error.seconds:g} s.")
        if isinstance(error, CannotGoOn):
            raise BackendLost("The endpoint was lost in the middle of the stream, and no other one would continue it.")
        if isinstance(error, NoAnswer):
            if lost:
                raise BackendLost("The endpoint ended the stream before it was complete.")
            await self._begin((), lease)
            raise BackendLost("The endpoint ended the call without an answer.")
        if not self.begun:
            await self._begin(error.initial_metadata() or (), lease)
        trailing = trailing_to_caller(error.trailing_metadata() or ())
        if any(key == STATUS_KEY for key, _ in trailing):
            await self._context.abort(error.code(), error.details() or "", trailing)
        raise _contract_error(error, lost)

    def _usage(self, last: bytes) -> Usage | None:
        try:
            return self._shape.usage(last)
        except Malformed:
            raise NoAnswer from None

    def _pass_on(self, message: bytes, silence: Silence) -> bool:
        """Sends a message without waking the call's task, if the caller takes it at once; returns whether it did.

        Called where the frame is read. Until the first token is sent, the call's task sends everything itself.
        """
        if self._call.phase is not STREAMING or not self._offer(message):
            return False
        self._sent(message)
        silence.broken()
        return True

    def _sent(self, message: bytes) -> None:
        self._last = message
        if self.resumption is not None:
            self.resumption.keep(message)

    async def _next(self, call: ClientCall, silence: Silence) -> bytes | None:
        """Returns the next message that was not sent yet; None at the end of the stream."""
        try:
            return await silence.within(call.read(), first=bool(self._delta_tag))
        except grpc.aio.AioRpcError as error:
            # The last message was `completed`, after which the status is always OK.
            if Failure.of(error).lost and self._shape.closes(self._last):
                return None
            raise

    async def _resume(self, silence: Silence, call: ClientCall, lease: Lease) -> None:
        """Reads and checks `started` of a resumed stream, without sending it: the caller has had one."""
        assert self.resumption is not None
        try:
            message = await silence.within(call.read(), first=True)
        except grpc.aio.AioRpcError as error:
            if Failure.of(error).worked:  # it refuses the gateway's request to resume, not the caller's request
                raise CannotGoOn from error
            raise
        if message is None:
            raise NoAnswer
        self.resumption.check(message)
        lease.answered()
        self._metrics.resumes.labels("resumed").inc()

    async def _begin(self, initial: Any, lease: Lease) -> None:
        self.begun = True
        lease.answered()
        await self._context.send_initial_metadata(initial_to_caller(initial, lease.endpoint.address))

    async def _send(self, message: bytes) -> None:
        await rpc.write_within(self._context, message, self._settings.stalled_client_seconds)
        if self._delta_tag and message.startswith(self._delta_tag):
            self._delta_tag = b""
            self._metrics.first_token_relayed(self._call)
        elif self._call.phase is BEFORE_FIRST_MESSAGE:
            self._call.phase = BEFORE_FIRST_TOKEN if self._delta_tag else STREAMING


def _contract_error(error: grpc.aio.AioRpcError, lost: bool) -> SensoriumError:
    code = error.code()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        # gRPC's own text names addresses inside the cluster.
        when = "in the middle of the stream" if lost else "before it answered"
        return BackendLost(f"The endpoint was lost {when}.")
    if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        return Internal()
    return from_rpc_error(error)
