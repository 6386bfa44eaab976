"""Wires up the vision service: turns settings into a running server."""

from collections.abc import Callable

from services.engine.metrics import EngineMetrics
from services.process import LoadedService, ModelProcess, checkpoint_of
from services.vision.config import VisionSettings
from services.vision.servicer import VisionServicer
from services.vision.task import choose_task
from services.vision.vision_model import load_vision_service

VISION_SERVICE = "sensorium.v1.VisionService"


async def serve(settings: VisionSettings) -> None:
    """Serves until the process is asked to stop."""
    await VisionService(settings).serve()


class VisionService(ModelProcess[VisionSettings]):
    """The gRPC server and the vision model of one process."""

    def __init__(self, settings: VisionSettings) -> None:
        super().__init__(settings, VISION_SERVICE, VisionServicer, load)


def load(settings: VisionSettings, metrics: EngineMetrics, warming: Callable[[], None]) -> LoadedService:
    """Loads the model for the task in the settings; with `auto`, for the task its checkpoint was trained for.

    Raises:
        ModelRefused: the checkpoint cannot be served; the message says why.
    """
    checkpoint = checkpoint_of(settings, convolving=True)
    return load_vision_service(checkpoint, choose_task(checkpoint, settings.task), settings, metrics, warming)
