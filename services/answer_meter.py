"""Counts the images and the audio of answers, for every RPC and every kind of model."""

from grpc import StatusCode

from sensorium.call_record import CALL_RECORD
from sensorium.tasks import METHODS
from sensorium.v1.models_pb2 import TASK_SYNTHESIZE
from services.engine.metrics import EngineMetrics


class AnswerMeter:
    """A CallObserver of a service."""

    def __init__(self, metrics: EngineMetrics) -> None:
        self._metrics = metrics

    def started(self, method: str) -> None:
        """Does nothing: engines count the requests that they begin."""
        del method

    def finished(self, method: str, code: StatusCode, seconds: float) -> None:
        """Counts the images and the audio of the call's answer, if there was one."""
        del code, seconds
        record = CALL_RECORD.get()
        consumed = record.consumption if record is not None else None
        if consumed is None:
            return
        self._metrics.images.inc(consumed.images)
        if consumed.audio_seconds is not None:
            spoken = method in METHODS and TASK_SYNTHESIZE in METHODS[method].tasks
            direction = "output" if spoken else "input"
            self._metrics.heard(direction, consumed.audio_seconds, consumed.compute_seconds)
