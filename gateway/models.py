"""The gateway's `ModelService`: the models of all reachable endpoints, merged into one list."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc

from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.router import EndpointState, unknown_model
from sensorium.errors import InvalidArgument, NoEndpoint, Violation
from sensorium.v1 import models_pb2, models_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

# If replicas of a model differ in state, the best state is reported.
_BEST_FIRST = (
    models_pb2.MODEL_STATE_READY,
    models_pb2.MODEL_STATE_WARMING,
    models_pb2.MODEL_STATE_LOADING,
    models_pb2.MODEL_STATE_DRAINING,
    models_pb2.MODEL_STATE_FAILED,
)


class ModelService(models_pb2_grpc.ModelServiceServicer):
    """Answers from the models that the endpoints reported last."""

    def __init__(self, endpoints: Callable[[], Sequence[Endpoint]]) -> None:
        self._endpoints = endpoints

    async def ListModels(  # noqa: N802
        self, request: models_pb2.ListModelsRequest, context: Context
    ) -> models_pb2.ListModelsResponse:
        """Lists the models, one entry per name and revision."""
        del context
        models = aggregate(self._endpoints())
        wanted = [info for info in models if not request.task or request.task in info.tasks]
        return models_pb2.ListModelsResponse(models=wanted)

    async def GetModel(  # noqa: N802
        self, request: models_pb2.GetModelRequest, context: Context
    ) -> models_pb2.GetModelResponse:
        """Gets one model; if there are several revisions, as during a roll-out, the one that most endpoints serve.

        Raises:
            InvalidArgument: the request names no model and there are several.
            ModelNotServed, NoEndpoint: no endpoint serves it, or none that may was reached.
        """
        del context
        models = aggregate(self._endpoints())
        name = request.model or self._only(models)
        found = [info for info in models if info.identity.name == name]
        if not found:
            raise unknown_model(self._endpoints(), name)
        return models_pb2.GetModelResponse(model=max(found, key=lambda info: info.endpoint_count))

    def _only(self, models: Sequence[models_pb2.ModelInfo]) -> str:
        names = sorted({info.identity.name for info in models if not info.base_model})
        if not names:
            raise NoEndpoint("No endpoint can be reached.", retry_after=1.0)
        if len(names) > 1:
            raise InvalidArgument([Violation("model", f"must be given, as there are several: {', '.join(names)}")])
        return names[0]


def aggregate(endpoints: Sequence[Endpoint]) -> list[models_pb2.ModelInfo]:
    """Returns one entry per name and revision, sorted by both, with the number of endpoints that serve it.

    If replicas differ in state, the entry is the one of the best state. Unreachable endpoints are left out.
    """
    found: dict[tuple[str, str], list[models_pb2.ModelInfo]] = {}
    for endpoint in endpoints:
        if endpoint.state is not EndpointState.CONNECTING:
            for info in endpoint.infos:
                found.setdefault((info.identity.name, info.identity.revision), []).append(_as_seen(info, endpoint))
    models: list[models_pb2.ModelInfo] = []
    for _, replicas in sorted(found.items()):
        merged = models_pb2.ModelInfo()
        merged.CopyFrom(min(replicas, key=_rank))
        merged.endpoint_count = len(replicas)
        models.append(merged)
    return models


def _as_seen(info: models_pb2.ModelInfo, endpoint: Endpoint) -> models_pb2.ModelInfo:
    """Returns `info`, marked as draining if the endpoint takes no calls but last reported the model as ready."""
    if (
        endpoint.state in (EndpointState.NOT_SERVING, EndpointState.DRAINING)
        and info.state == models_pb2.MODEL_STATE_READY
    ):
        seen = models_pb2.ModelInfo()
        seen.CopyFrom(info)
        seen.state = models_pb2.MODEL_STATE_DRAINING
        return seen
    return info


def _rank(info: models_pb2.ModelInfo) -> int:
    return _BEST_FIRST.index(info.state) if info.state in _BEST_FIRST else len(_BEST_FIRST)
