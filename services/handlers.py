"""Makes gRPC handlers of a servicer's methods, and handlers that refuse the RPCs that it lacks."""

from typing import Any, NoReturn

import grpc

from sensorium.errors import TaskNotSupported
from sensorium.tasks import METHODS, Method
from services.request_parsing import parser


def handlers(service: str, servicer: object, model: str) -> grpc.GenericRpcHandler:
    """Returns handlers for every RPC of `service` (its full name): the servicer's own, else TASK_NOT_SUPPORTED."""
    methods = {method.name.rpartition("/")[2]: method for method in METHODS.values() if method.service == service}
    return grpc.method_handlers_generic_handler(
        service,
        {
            name: _handler(method, getattr(servicer, name, None) or _refusal(name, model))
            for name, method in methods.items()
        },
    )


def _handler(method: Method, behaviour: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    kind = (
        ("stream" if method.request_is_stream else "unary") + "_" + ("stream" if method.response_is_stream else "unary")
    )
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(behaviour, parser(method.request_type), method.response_type.SerializeToString)


def task_not_supported(name: str, model: str) -> TaskNotSupported:
    """Returns the error for an RPC that a model cannot do."""
    return TaskNotSupported(f"{model} cannot do {name}.", metadata={"model": model, "rpc": name})


def _refusal(name: str, model: str) -> Any:
    async def refuse(_request: object, _context: object) -> NoReturn:
        raise task_not_supported(name, model)

    return refuse
