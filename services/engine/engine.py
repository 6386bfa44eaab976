"""What every engine is: a model, the one thread that owns it, and who may wait for it."""

from abc import ABC, abstractmethod

from services.engine.admission import Admission
from services.engine.metrics import EngineMetrics
from services.engine.model_thread import ModelThread


class Engine(ABC):
    """Is called on an event loop; what the model does happens in the engine's thread."""

    def __init__(self, name: str, admission: Admission, metrics: EngineMetrics) -> None:
        """Makes one whose thread has a name. `start` starts it."""
        self.admission = admission
        self._metrics = metrics
        self._thread = ModelThread(name, self._loop, admission)
        metrics.watch_queue(admission)

    @abstractmethod
    def _loop(self) -> None:
        """Works until the thread is closing or has given up, and ends everybody's wait then. See ModelThread."""

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends what is still asked for with ModelNotReady, and the thread. Drain before calling this."""
        self._thread.close()

    def trouble(self, seconds: float) -> str:
        """See ModelThread."""
        return self._thread.trouble(seconds)
