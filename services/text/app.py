"""Wires up the text service: turns settings into a running server."""

from collections.abc import Callable

from sensorium import rpc
from services.engine.checkpoint import ModelRefused
from services.engine.metrics import EngineMetrics
from services.engine.parallel.leading import started_rank
from services.process import LoadedService, ModelProcess, checkpoint_of
from services.text.config import TextSettings
from services.text.generative_model import load_generative_model
from services.text.rank import follow
from services.text.servicer import TextServicer
from services.text.task import choose_task
from services.text.understanding.encoder_model import load_encoder_model

TEXT_SERVICE = "sensorium.v1.TextService"


async def serve(settings: TextSettings) -> None:
    """Serves until the process is asked to stop. With tensor parallelism, ranks above 0 only follow rank 0."""
    try:
        rank = started_rank(settings.tensor_parallel)
        if rank is not None and not rank.leads:
            follow(settings, rank)
            return
    except ModelRefused as error:
        raise rpc.CannotServe(str(error)) from error
    await TextService(settings).serve()


class TextService(ModelProcess[TextSettings]):
    """The gRPC server and the text model of one process."""

    def __init__(self, settings: TextSettings) -> None:
        super().__init__(settings, TEXT_SERVICE, TextServicer, load, adapters=tuple(settings.adapter_places))


def load(settings: TextSettings, metrics: EngineMetrics, warming: Callable[[], None]) -> LoadedService:
    """Loads the model for the task in the settings; with `auto`, for the task its checkpoint was trained for.

    Raises:
        ModelRefused: the checkpoint cannot be served; the message says why.
    """
    checkpoint = checkpoint_of(settings)
    task = choose_task(checkpoint, settings.task)
    if task is None:
        return load_generative_model(checkpoint, settings, metrics, warming)
    if settings.adapters:
        raise ModelRefused(f"--adapters is for models that generate; this one is served to {task.value}.")
    if settings.tensor_parallel > 1:
        raise ModelRefused(
            f"--tensor-parallel {settings.tensor_parallel} is for models that generate; this one is served to "
            f"{task.value}."
        )
    return load_encoder_model(checkpoint, task, settings, metrics, warming)
