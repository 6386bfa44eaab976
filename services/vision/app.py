"""Wiring of the vision service: settings in, a serving process out."""

from collections.abc import Callable

from services.engine.metrics import EngineMetrics
from services.process import LoadedService, ModelProcess, checkpoint_of
from services.vision.config import VisionSettings
from services.vision.servicer import VisionServicer
from services.vision.task import choose_task
from services.vision.vision_model import load_vision_service

VISION_SERVICE = "sensorium.v1.VisionService"


async def serve(settings: VisionSettings) -> None:
    """Serves until told to stop."""
    await VisionService(settings).serve()


class VisionService(ModelProcess[VisionSettings]):
    """One process's server and vision model."""

    def __init__(self, settings: VisionSettings) -> None:
        super().__init__(settings, VISION_SERVICE, VisionServicer, load)


def load(settings: VisionSettings, metrics: EngineMetrics, warming: Callable[[], None]) -> LoadedService:
    """Loads the model for what it was made for, or for what the settings say.

    Raises:
        ModelRefused: the checkpoint cannot be served; the message says why.
    """
    checkpoint = checkpoint_of(settings)
    return load_vision_service(checkpoint, choose_task(checkpoint, settings.task), settings, metrics, warming)
