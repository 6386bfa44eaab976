"""Relays calls of every arity to an endpoint, as raw bytes.

If an endpoint fails a call before any part of the answer was sent to the caller, the call is retried on another
endpoint: at most twice, only for failures that another endpoint may not have, and within the retry budget. If an
endpoint is lost in the middle of a stream of generated text, another one continues it: at most twice, without a budget.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

import grpc
from grpc import StatusCode

from gateway.admission import Admission, Ask, Lease
from gateway.config import GatewaySettings
from gateway.metrics import GatewayMetrics
from gateway.relay.answer import AnswerShape
from gateway.relay.call import BEFORE_FIRST_MESSAGE, CALL, QUEUE
from gateway.relay.delivery import Context, Delivery
from gateway.relay.failure import EndpointSilent, Failure, NoAnswer
from gateway.relay.headers import Metadata, tenant_of, towards_endpoint
from gateway.relay.kept_bytes import KeptBytes
from gateway.relay.request import model_and_priority_of, model_of_config
from gateway.relay.resumption import CannotGoOn, Resumption
from gateway.relay.retry_budget import RetryBudget
from gateway.relay.upstream import Upstream
from sensorium import rpc
from sensorium.call_record import phase
from sensorium.rpc.http2.client_call import ClientCall
from sensorium.tasks import METHODS, Method
from sensorium.v1.models_pb2 import TASK_TOKENIZE

_log = logging.getLogger("gateway")

_EXTRA_ATTEMPTS = 2

AnswerT = TypeVar("AnswerT")
Attempt = Callable[[Lease, float | None], Awaitable[AnswerT]]


class Relay(grpc.GenericRpcHandler):
    """The generic gRPC handler of every method of the contract except those of ModelService."""

    def __init__(self, admission: Admission, metrics: GatewayMetrics, settings: GatewaySettings) -> None:
        self._admission = admission
        self._metrics = metrics
        self._settings = settings
        self._budget = RetryBudget(settings.retry_ratio, time.monotonic)
        self._resume_budget = KeptBytes(settings.resume_mib * 2**20)
        self._shapes = {name: AnswerShape.of(method) for name, method in METHODS.items()}
        self._priorities = {name: _priority_field(method) for name, method in METHODS.items()}
        self._handlers = {name: self._handler(method) for name, method in METHODS.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Returns the handler of a method, or None if the relay does not serve it."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, method: Method) -> Any:
        async def whole(request: bytes, context: Context) -> bytes:
            return await self._whole(method, request, context)

        async def stream(request: bytes, context: Context) -> None:
            await self._stream(method, request, context)

        async def exchange(_requests: Any, context: Context) -> None:
            await self._exchange(method, context)

        # On the wire, a single message is a stream of one message, so three handlers serve all four arities.
        kit: Any = grpc
        if method.request_is_stream:
            return kit.stream_stream_rpc_method_handler(exchange)
        if method.response_is_stream:
            return kit.unary_stream_rpc_method_handler(stream)
        return kit.unary_unary_rpc_method_handler(whole)

    async def _whole(self, method: Method, request: bytes, context: Context) -> bytes:
        delivery = self._delivery(method, context)

        async def attempt(lease: Lease, timeout: float | None) -> bytes:
            with await _opened(lease, method, context, timeout) as call:
                call.ask(request)
                return await delivery.whole(call, lease)

        return await self._run(self._ask(method, request, context), delivery, attempt)

    async def _stream(self, method: Method, request: bytes, context: Context) -> None:
        resumable = method.resumable and self._settings.resume_mib
        with Resumption(method, request, self._resume_budget) if resumable else nullcontext() as resumption:
            delivery = Delivery(context, self._metrics, self._settings, self._shapes[method.name], resumption)

            async def attempt(lease: Lease, timeout: float | None) -> None:
                message = resumption.request() if resumption is not None and delivery.begun else request
                silence = delivery.silence()
                with await silence.within(_opened(lease, method, context, timeout), first=True) as call:
                    call.ask(message)
                    await delivery.stream(call, lease, silence)

            await self._run(self._ask(method, request, context), delivery, attempt)

    async def _exchange(self, method: Method, context: Context) -> None:
        delivery = self._delivery(method, context)
        async with Upstream(context, self._settings.silent_client_seconds) as upstream:
            first = await upstream.first()
            tenant = tenant_of(_received(context), self._settings.tenant_metadata)
            ask = Ask(method.tasks, model_of_config(first), 0, tenant, len(first), _slots(method))

            async def attempt(lease: Lease, timeout: float | None) -> None:
                with await _opened(lease, method, context, timeout) as call:
                    async with upstream.flowing_into(call):
                        await delivery.stream(call, lease, delivery.silence())

            await self._run(ask, delivery, attempt, lambda: upstream.replayable)

    async def _run(
        self,
        ask: Ask,
        delivery: Delivery,
        attempt: Attempt[AnswerT],
        repeatable: Callable[[], bool] = lambda: True,
    ) -> AnswerT:
        """Admits the call, then tries endpoints until one answers; returns its answer.

        `repeatable` tells whether the caller's messages can be sent again. Raises as `Delivery.fail` when none is left.
        """
        self._budget.deposit()
        lease = await self._enter(ask, delivery)
        tried: list[str] = []
        while True:
            with lease:
                try:
                    with rpc.attempt(lease.endpoint.address):
                        answer = await attempt(lease, delivery.remaining())
                except (grpc.aio.AioRpcError, EndpointSilent, NoAnswer, CannotGoOn) as error:
                    failure = Failure.of(error)
                    lease.worked, lease.full_seconds = failure.worked, failure.full_seconds
                else:
                    lease.worked, lease.tokens = True, CALL.get().tokens
                    self._metrics.attempts.labels("ok", StatusCode.OK.name).inc()
                    return answer
            tried.append(lease.endpoint.address)
            other = self._other(ask, delivery, failure, tried, repeatable)
            if other is None:
                await delivery.fail(failure, lease)
            _log.info("%s failed with %s; trying another endpoint", lease.endpoint.address, failure.reason)
            lease = other

    async def _enter(self, ask: Ask, delivery: Delivery) -> Lease:
        call = CALL.get()
        call.model, call.phase = ask.model, QUEUE
        try:
            with phase("queue"):
                lease = await self._admission.enter(ask, delivery.remaining())
        finally:
            call.model = ask.model
        call.phase = BEFORE_FIRST_MESSAGE
        return lease

    def _other(
        self, ask: Ask, delivery: Delivery, failure: Failure, tried: list[str], repeatable: Callable[[], bool]
    ) -> Lease | None:
        """Returns a lease on another endpoint if the failed call may be retried, else None; counts the attempt."""
        if delivery.begun:
            return self._successor(ask, delivery, failure, tried)
        result, lease = "error", None
        again = failure.elsewhere and repeatable() and len(tried) <= _EXTRA_ATTEMPTS
        choice = self._admission.alternative(ask, tried) if again else None
        # If there is no other endpoint, the caller gets the last one's error, which says more than NO_ENDPOINT.
        if choice is not None and self._budget.withdraw():
            result, lease = "retried", self._admission.take(choice, ask)
        elif choice is not None:
            result = "budget_exhausted"
        self._metrics.attempts.labels(result, failure.reason).inc()
        return lease

    def _successor(self, ask: Ask, delivery: Delivery, failure: Failure, tried: list[str]) -> Lease | None:
        """Returns a lease on an endpoint that continues a stream begun by another one, or None; counts the attempt.

        No retry budget is needed: the stream only moves load from an endpoint that is gone.
        """
        result, lease, resumption = "lost" if failure.lost else "error", None, delivery.resumption
        if failure.elsewhere and resumption is not None:
            hindrance = resumption.hindrance(self._settings.message_bytes)
            resumable = not hindrance and len(tried) <= _EXTRA_ATTEMPTS
            choice = self._admission.alternative(ask, tried, resumption.model) if resumable else None
            if choice is not None:
                result, lease = "resumed", self._admission.take(choice, ask)
            else:
                reason = "refused" if isinstance(failure.error, CannotGoOn) else "no_endpoint"
                self._metrics.resumes.labels(hindrance or reason).inc()
        self._metrics.attempts.labels(result, failure.reason).inc()
        if failure.lost and lease is None:
            self._metrics.broken.labels(CALL.get().phase).inc()
        return lease

    def _ask(self, method: Method, request: bytes, context: Context) -> Ask:
        model, priority = model_and_priority_of(request, self._priorities[method.name])
        tenant = tenant_of(_received(context), self._settings.tenant_metadata)
        return Ask(method.tasks, model, priority, tenant, len(request), _slots(method))

    def _delivery(self, method: Method, context: Context) -> Delivery:
        return Delivery(context, self._metrics, self._settings, self._shapes[method.name])


def _opened(lease: Lease, method: Method, context: Context, timeout: float | None) -> Coroutine[Any, Any, ClientCall]:
    return lease.endpoint.channel.open(method.name, towards_endpoint(_received(context)), timeout)


def _received(context: Context) -> Metadata:
    metadata: Any = context.invocation_metadata()
    return metadata or ()


def _priority_field(method: Method) -> int:
    """Returns the field number of `priority` in a method's request; 0, which no field has, if there is none."""
    field = method.request_type.DESCRIPTOR.fields_by_name.get("priority")
    return field.number if field is not None else 0


def _slots(method: Method) -> int:
    """Returns the slots a call occupies: 0 for live audio, mostly idle, and for (De)Tokenize, which run no model."""
    return 0 if method.request_is_stream or method.tasks == (TASK_TOKENIZE,) else 1
