"""Wires up the multimodal service: turns settings into a running server."""

from collections.abc import Callable

from services.engine.metrics import EngineMetrics
from services.engine.pictures.loading import ARCHITECTURES
from services.multimodal.chat.chat_model import load_chat_model
from services.multimodal.config import MultimodalSettings
from services.multimodal.image_to_text.writing_model import load_writing_model
from services.multimodal.reading.reading_model import load_reading_model
from services.multimodal.servicer import MultimodalServicer
from services.multimodal.task import MultimodalTask, choose_task, made_as
from services.process import LoadedService, ModelProcess, checkpoint_of

MULTIMODAL_SERVICE = "sensorium.v1.MultimodalService"


async def serve(settings: MultimodalSettings) -> None:
    """Serves until the process is asked to stop."""
    await MultimodalService(settings).serve()


class MultimodalService(ModelProcess[MultimodalSettings]):
    """The gRPC server and the multimodal model of one process."""

    def __init__(self, settings: MultimodalSettings) -> None:
        super().__init__(settings, MULTIMODAL_SERVICE, MultimodalServicer, load)


def load(settings: MultimodalSettings, metrics: EngineMetrics, warming: Callable[[], None]) -> LoadedService:
    """Loads the model for the task in the settings; with `auto`, for the task its checkpoint was trained for.

    Raises:
        ModelRefused: the checkpoint cannot be served; the message says why.
    """
    checkpoint = checkpoint_of(settings)
    name = made_as(checkpoint)
    if name in ARCHITECTURES:
        return load_writing_model(checkpoint, settings, metrics, warming)
    task = choose_task(checkpoint.source, name, settings.task)
    if task is MultimodalTask.GENERATE:
        return load_chat_model(checkpoint, settings, metrics, warming)
    return load_reading_model(checkpoint, task, settings, metrics, warming)
