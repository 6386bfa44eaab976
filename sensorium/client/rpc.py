"""An RPC as an attribute: declared once in `contract`, called through a blocking or an awaiting client."""

from typing import Any, Generic, Self, overload

from sensorium.client.awaited.calls import AsyncBidi, AsyncServerStream, AsyncUnary
from sensorium.client.awaited.connection import AsyncService
from sensorium.client.blocking.calls import BlockingBidi, BlockingServerStream, BlockingUnary
from sensorium.client.blocking.connection import BlockingService
from sensorium.client.call import Q, R
from sensorium.client.method import Method


class Rpc(Generic[Q, R]):
    """One RPC by its request and response. The attribute's name in snake case is the RPC's name."""

    def __init__(self, request: type[Q], response: type[R]) -> None:
        self.request = request
        self.response = response
        self.name = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = "".join(word.capitalize() for word in name.split("_"))
        self.method = Method(f"/{owner.service}/{self.name}", self.request, self.response)


class Unary(Rpc[Q, R]):
    """One request, one response."""

    @overload
    def __get__(self, instance: BlockingService, owner: type[Any]) -> BlockingUnary[Q, R]: ...
    @overload
    def __get__(self, instance: AsyncService, owner: type[Any]) -> AsyncUnary[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    def __get__(
        self, instance: BlockingService | AsyncService | None, owner: type[Any]
    ) -> "BlockingUnary[Q, R] | AsyncUnary[Q, R] | Self":
        match instance:
            case BlockingService():
                return BlockingUnary(self.method, instance.connection)
            case AsyncService():
                return AsyncUnary(self.method, instance.connection)
            case None:
                return self


class ServerStream(Rpc[Q, R]):
    """One request, a stream of responses."""

    @overload
    def __get__(self, instance: BlockingService, owner: type[Any]) -> BlockingServerStream[Q, R]: ...
    @overload
    def __get__(self, instance: AsyncService, owner: type[Any]) -> AsyncServerStream[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    def __get__(
        self, instance: BlockingService | AsyncService | None, owner: type[Any]
    ) -> "BlockingServerStream[Q, R] | AsyncServerStream[Q, R] | Self":
        match instance:
            case BlockingService():
                return BlockingServerStream(self.method, instance.connection)
            case AsyncService():
                return AsyncServerStream(self.method, instance.connection)
            case None:
                return self


class Bidi(Rpc[Q, R]):
    """A stream of requests, a stream of responses."""

    @overload
    def __get__(self, instance: BlockingService, owner: type[Any]) -> BlockingBidi[Q, R]: ...
    @overload
    def __get__(self, instance: AsyncService, owner: type[Any]) -> AsyncBidi[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    def __get__(
        self, instance: BlockingService | AsyncService | None, owner: type[Any]
    ) -> "BlockingBidi[Q, R] | AsyncBidi[Q, R] | Self":
        match instance:
            case BlockingService():
                return BlockingBidi(self.method, instance.connection)
            case AsyncService():
                return AsyncBidi(self.method, instance.connection)
            case None:
                return self


def rpcs_of(table: type[Any]) -> dict[str, Rpc[Any, Any]]:
    """Returns the RPCs that a class of `contract` declares, by attribute."""
    return {name: rpc for name, rpc in vars(table).items() if isinstance(rpc, Rpc)}
