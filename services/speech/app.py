"""Wires the speech service: from settings to a serving process."""

from collections.abc import Callable

from services.engine.checkpoint import ModelRefused
from services.engine.metrics import EngineMetrics
from services.process import LoadedService, ModelProcess, checkpoint_of
from services.speech.config import SpeechSettings
from services.speech.servicer import SpeechServicer
from services.speech.speech_model import load_speech_service
from services.speech.synthesis.speaking_model import load_speaking_service
from services.speech.task import SpeechTask, choose_task

SPEECH_SERVICE = "sensorium.v1.SpeechService"


async def serve(settings: SpeechSettings) -> None:
    """Serves until the process is told to stop."""
    await SpeechService(settings).serve()


class SpeechService(ModelProcess[SpeechSettings]):
    """The gRPC server of one process and its one audio model."""

    def __init__(self, settings: SpeechSettings) -> None:
        super().__init__(settings, SPEECH_SERVICE, SpeechServicer, load)


def load(settings: SpeechSettings, metrics: EngineMetrics, warming: Callable[[], None]) -> LoadedService:
    """Loads the model for the task in `settings`, or for the task that its checkpoint was made for.

    Raises:
        ModelRefused: the checkpoint cannot be served; the message says why.
    """
    checkpoint = checkpoint_of(settings, convolving=True)
    task = choose_task(checkpoint, settings.task)
    if task is SpeechTask.SYNTHESIZE:
        return load_speaking_service(checkpoint, settings, metrics, warming)
    if settings.vocoder or settings.voices:
        raise ModelRefused(f"--vocoder and --voices are for models that speak; this one is served to {task.value}.")
    return load_speech_service(checkpoint, task, settings, metrics, warming)
