"""Passes calls of every arity on to an endpoint, as raw bytes.

A call that an endpoint fails with UNAVAILABLE before anything of its answer was sent goes once more to another one.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from grpc import StatusCode

from gateway.answer import AnswerShape
from gateway.call import CALL
from gateway.config import GatewaySettings
from gateway.delivery import Context, Delivery
from gateway.endpoint import Endpoint
from gateway.headers import towards_endpoint
from gateway.metrics import GatewayMetrics
from gateway.pool import Pool
from gateway.request import model_of, model_of_config
from gateway.router import Choice, route
from gateway.upstream import Upstream
from sensorium.errors import SensoriumError
from sensorium.tasks import METHODS, Method

_log = logging.getLogger("gateway")

_ATTEMPTS = 2

AnswerT = TypeVar("AnswerT")
Attempt = Callable[[Endpoint, float | None], Awaitable[AnswerT]]


class Relay(grpc.GenericRpcHandler):
    """Handles every method of the contract that runs a model."""

    def __init__(self, pool: Pool, metrics: GatewayMetrics, settings: GatewaySettings) -> None:
        self._pool = pool
        self._metrics = metrics
        self._settings = settings
        self._shapes = {name: AnswerShape.of(method) for name, method in METHODS.items()}
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
        metadata = towards_endpoint(context.invocation_metadata() or ())

        async def attempt(endpoint: Endpoint, timeout: float | None) -> bytes:
            call = endpoint.call("unary_unary", method.name)(request, timeout=timeout, metadata=metadata)
            try:
                return await delivery.whole(call, endpoint)
            finally:
                call.cancel()

        return await self._answered(method, model_of(request), delivery, attempt)

    async def _stream(self, method: Method, request: bytes, context: Context) -> None:
        delivery = self._delivery(method, context)
        metadata = towards_endpoint(context.invocation_metadata() or ())

        async def attempt(endpoint: Endpoint, timeout: float | None) -> None:
            call = endpoint.call("unary_stream", method.name)(request, timeout=timeout, metadata=metadata)
            try:
                await delivery.stream(call, endpoint)
            finally:
                call.cancel()

        await self._answered(method, model_of(request), delivery, attempt)

    async def _exchange(self, method: Method, context: Context) -> None:
        delivery = self._delivery(method, context)
        metadata = towards_endpoint(context.invocation_metadata() or ())
        async with Upstream(context, self._settings.silent_client_seconds) as upstream:
            model = model_of_config(await upstream.first())

            async def attempt(endpoint: Endpoint, timeout: float | None) -> None:
                call = endpoint.call("stream_stream", method.name)(timeout=timeout, metadata=metadata)
                try:
                    async with upstream.flowing_into(call):
                        await delivery.stream(call, endpoint)
                finally:
                    call.cancel()

            await self._answered(method, model, delivery, attempt, lambda: upstream.replayable)

    async def _answered(
        self,
        method: Method,
        model: str,
        delivery: Delivery,
        attempt: Attempt[AnswerT],
        repeatable: Callable[[], bool] = lambda: True,
    ) -> AnswerT:
        """Returns what the first endpoint that answers answers."""
        tried: list[str] = []
        while True:
            choice = self._route(method, model, tried)
            try:
                with choice.endpoint.working():
                    answer = await attempt(choice.endpoint, delivery.remaining())
            except grpc.aio.AioRpcError as error:
                tried.append(choice.endpoint.address)
                again = not delivery.begun and repeatable() and self._may_retry(method, model, tried, error)
                self._count(method, error, delivery, again)
                if not again:
                    await delivery.fail(error, choice.endpoint)
                _log.info("%s answered UNAVAILABLE; trying another endpoint", choice.endpoint.address)
            else:
                self._metrics.attempts.labels("ok", StatusCode.OK.name).inc()
                return answer

    def _route(self, method: Method, model: str, tried: list[str]) -> Choice[Endpoint]:
        call = CALL.get()
        call.model = model
        try:
            choice = route(self._pool.endpoints, method.tasks, model, tried=tried)
        except SensoriumError as error:
            self._metrics.routes.labels(error.reason.lower()).inc()
            raise
        call.model = choice.model
        self._metrics.routes.labels("retry" if tried else choice.reason).inc()
        return choice

    def _may_retry(self, method: Method, model: str, tried: list[str], error: grpc.aio.AioRpcError) -> bool:
        if error.code() is not StatusCode.UNAVAILABLE or len(tried) >= _ATTEMPTS:
            return False
        try:
            route(self._pool.endpoints, method.tasks, model, tried=tried)
        except SensoriumError:
            # The first endpoint's own words tell the caller more than "there is no other".
            return False
        return True

    def _count(self, method: Method, error: grpc.aio.AioRpcError, delivery: Delivery, again: bool) -> None:
        lost = delivery.begun and error.code() is StatusCode.UNAVAILABLE
        result = "retried" if again else "lost" if lost else "error"
        self._metrics.attempts.labels(result, error.code().name).inc()
        if lost and method.response_is_stream:
            self._metrics.broken.labels(CALL.get().phase).inc()

    def _delivery(self, method: Method, context: Context) -> Delivery:
        return Delivery(context, self._metrics, self._settings.stalled_client_seconds, self._shapes[method.name])
