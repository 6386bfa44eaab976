"""Passes calls of every arity on to an endpoint, as raw bytes.

A call that an endpoint fails before anything of its answer was sent goes to another one, at most twice, where that one
may do better and the budget for retries is not used up. What is missing of a stream of generated text goes to another
one too, as often, and needs no budget.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

import grpc
from grpc import StatusCode

from gateway.admission import Admission, Ask, Lease
from gateway.answer import AnswerShape
from gateway.call import BEFORE_FIRST_MESSAGE, CALL, QUEUE
from gateway.config import GatewaySettings
from gateway.delivery import Context, Delivery
from gateway.failure import EndpointSilent, Failure, NoAnswer
from gateway.headers import Metadata, tenant_of, towards_endpoint
from gateway.kept_bytes import KeptBytes
from gateway.metrics import GatewayMetrics
from gateway.request import model_and_priority_of, model_of_config
from gateway.resumption import CannotGoOn, Resumption
from gateway.retry_budget import RetryBudget
from gateway.upstream import Upstream
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
    """Handles every method of the contract that runs a model."""

    def __init__(self, admission: Admission, metrics: GatewayMetrics, settings: GatewaySettings) -> None:
        self._admission = admission
        self._metrics = metrics
        self._settings = settings
        self._budget = RetryBudget(settings.retry_ratio, time.monotonic)
        self._room = KeptBytes(settings.resume_mib * 2**20)
        self._shapes = {name: AnswerShape.of(method) for name, method in METHODS.items()}
        self._priorities = {name: _priority_field(method) for name, method in METHODS.items()}
        self._handlers = {name: self._handler(method) for name, method in METHODS.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Returns the handler of a method; None where it is not one of the contract's."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, method: Method) -> Any:
        async def whole(request: bytes, context: Context) -> bytes:
            return await self._whole(method, request, context)

        async def stream(request: bytes, context: Context) -> None:
            await self._stream(method, request, context)

        async def exchange(_requests: Any, context: Context) -> None:
            await self._exchange(method, context)

        # On the wire, a stream of one message and a single message are the same: three shapes serve four arities.
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

        return await self._answered(self._ask(method, request, context), delivery, attempt)

    async def _stream(self, method: Method, request: bytes, context: Context) -> None:
        resumable = method.resumable and self._settings.resume_mib
        with Resumption(method, request, self._room) if resumable else nullcontext() as resumption:
            delivery = Delivery(context, self._metrics, self._settings, self._shapes[method.name], resumption)

            async def attempt(lease: Lease, timeout: float | None) -> None:
                message = resumption.request() if resumption is not None and delivery.begun else request
                silence = delivery.silence()
                with await silence.within(_opened(lease, method, context, timeout), first=True) as call:
                    call.ask(message)
                    await delivery.stream(call, lease, silence)

            await self._answered(self._ask(method, request, context), delivery, attempt)

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

            await self._answered(ask, delivery, attempt, lambda: upstream.replayable)

    async def _answered(
        self,
        ask: Ask,
        delivery: Delivery,
        attempt: Attempt[AnswerT],
        repeatable: Callable[[], bool] = lambda: True,
    ) -> AnswerT:
        """Returns what the first endpoint that answers answers."""
        self._budget.deposit()
        lease = await self._admitted(ask, delivery)
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

    async def _admitted(self, ask: Ask, delivery: Delivery) -> Lease:
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
        """Returns another endpoint for a failed call, if it may have one; counts the attempt that failed."""
        if delivery.begun:
            return self._successor(ask, delivery, failure, tried)
        result, lease = "error", None
        again = failure.elsewhere and repeatable() and len(tried) <= _EXTRA_ATTEMPTS
        choice = self._admission.alternative(ask, tried) if again else None
        # Without another one, the first endpoint's own words tell the caller more than "there is no other".
        if choice is not None and self._budget.withdraw():
            result, lease = "retried", self._admission.take(choice, ask)
        elif choice is not None:
            result = "budget_exhausted"
        self._metrics.attempts.labels(result, failure.reason).inc()
        return lease

    def _successor(self, ask: Ask, delivery: Delivery, failure: Failure, tried: list[str]) -> Lease | None:
        """Returns an endpoint to go on with a stream that another one has begun, if one may.

        That needs no budget: it is the load of an endpoint that is gone, and no more than that.
        """
        result, lease, resumption = "lost" if failure.lost else "error", None, delivery.resumption
        if failure.elsewhere and resumption is not None:
            hindrance = resumption.hindrance(self._settings.message_bytes)
            able = not hindrance and len(tried) <= _EXTRA_ATTEMPTS
            choice = self._admission.alternative(ask, tried, resumption.model) if able else None
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
    """Returns the number of the field `priority` of a method's requests; 0, which no field has, where there is none."""
    field = method.request_type.DESCRIPTOR.fields_by_name.get("priority")
    return field.number if field is not None else 0


def _slots(method: Method) -> int:
    """Returns how many slots a call takes: none if it is live audio, which mostly listens, or needs no model at all."""
    return 0 if method.request_is_stream or method.tasks == (TASK_TOKENIZE,) else 1
