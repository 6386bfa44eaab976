"""ModelService of one process: tells of its one model."""

from typing import Any

from sensorium.errors import InvalidArgument, ModelNotServed
from sensorium.v1 import models_pb2 as pb
from sensorium.v1.models_pb2_grpc import ModelServiceServicer
from services.enums import unknown_enum_numbers
from services.served_model import ServedModel


class ModelServicer(ModelServiceServicer):
    """Answers from the served model's description, in any state of it."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """Returns the model, unless another task was asked for."""
        if unknown := list(unknown_enum_numbers(request)):
            raise InvalidArgument(unknown)
        wanted = request.task == pb.TASK_UNSPECIFIED or request.task in self._served.info.tasks
        return pb.ListModelsResponse(models=[self._served.info] if wanted else [])

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        """Returns the model if it is the one asked for."""
        if request.model not in ("", self._served.name):
            raise ModelNotServed.of(request.model, [self._served.name])
        return pb.GetModelResponse(model=self._served.info)
