"""ModelService of one process: describes its model and the adapters beside it."""

from typing import Any

from sensorium.errors import InvalidArgument, ModelNotServed
from sensorium.v1 import models_pb2 as pb
from sensorium.v1.models_pb2_grpc import ModelServiceServicer
from services.enums import unknown_enum_numbers
from services.served_model import ServedModel


class ModelServicer(ModelServiceServicer):
    """Answers from the description of the served model, whatever state this is in."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """Returns the model and its adapters; none if it cannot do the task asked for."""
        if unknown := list(unknown_enum_numbers(request)):
            raise InvalidArgument(unknown)
        wanted = request.task == pb.TASK_UNSPECIFIED or request.task in self._served.info.tasks
        return pb.ListModelsResponse(models=self._served.infos() if wanted else [])

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        """Returns the model, or the adapter beside it, of the name asked for."""
        infos = {info.identity.name: info for info in self._served.infos()}
        info = infos.get(request.model or self._served.name)
        if info is None:
            raise ModelNotServed.of(request.model, infos)
        return pb.GetModelResponse(model=info)
