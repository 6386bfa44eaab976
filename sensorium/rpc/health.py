"""`grpc.health.v1`: one status per service, and one for the process under the empty name."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

SERVICE_NAME = "grpc.health.v1.Health"

_SERVING = HealthCheckResponse.SERVING
_NOT_SERVING = HealthCheckResponse.NOT_SERVING


class Health:
    """Answers health checks, and ends its watches when told to.

    The servicer that ships with gRPC keeps watches open until the server's grace is used up. Use it on the event loop
    only.
    """

    def __init__(self, services: tuple[str, ...]) -> None:
        self._statuses: dict[str, HealthCheckResponse.ServingStatus.ValueType] = dict.fromkeys(
            ("", *services), _NOT_SERVING
        )
        self._chosen: set[str] = set()
        self._changed = asyncio.Event()
        self._retired = False
        self._closed = False

    @property
    def serving(self) -> bool:
        """Whether the process as a whole serves."""
        return self._statuses[""] == _SERVING

    def set(self, service: str, serving: bool) -> None:
        """Sets the status of one service; `""` is the process as a whole."""
        self._chosen.add(service)
        self._set(service, serving)

    def ready(self) -> None:
        """Sets the process to serving, and every service that nobody has `set`."""
        for service in set(self._statuses) - self._chosen:
            self._set(service, True)

    def retire(self) -> None:
        """Sets everything to not serving, for good: what is set later stays without effect."""
        self._statuses = dict.fromkeys(self._statuses, _NOT_SERVING)
        self._retired = True
        self._notify()

    def close(self) -> None:
        """Retires, sends that to the watches, and ends them."""
        self._closed = True
        self.retire()

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns the handler to register with a server."""
        decode, encode = HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
        check: Any = self._check
        watch: Any = self._watch
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(check, decode, encode),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, decode, encode),
        }
        return grpc.method_handlers_generic_handler(SERVICE_NAME, methods)

    def _set(self, service: str, serving: bool) -> None:
        status = _SERVING if serving else _NOT_SERVING
        if not self._retired and self._statuses.get(service) != status:
            self._statuses[service] = status
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _check(
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "This server has no service of that name.")
        return HealthCheckResponse(status=status)

    async def _watch(
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[HealthCheckResponse]:
        del context
        told = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield HealthCheckResponse(status=status)
                continue
            if self._closed:
                return
            await changed.wait()
