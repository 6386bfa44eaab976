"""The base class of engines: a model, the one thread that runs it, and the bounds of its queue."""

from abc import ABC, abstractmethod

from services.engine.admission import Admission
from services.engine.metrics import EngineMetrics
from services.engine.threads.model_thread import ModelThread


class Engine(ABC):
    """Called on an event loop; the model runs in the engine's thread."""

    def __init__(self, name: str, admission: Admission, metrics: EngineMetrics) -> None:
        """`name` is the thread's, which `start` starts."""
        self.admission = admission
        self._metrics = metrics
        self._thread = ModelThread(name, self._loop, admission)
        metrics.watch_queue(admission)

    @abstractmethod
    def _loop(self) -> None:
        """The thread's main loop: ends when the thread is closing or has a fault, and answers all that wait then."""

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, and requests that are still open with ModelNotReady. Drain before calling this."""
        self._thread.close()

    def trouble(self, seconds: float) -> str:
        """See ModelThread.trouble."""
        return self._thread.trouble(seconds)
