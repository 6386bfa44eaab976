"""All threads of a model: its engine's and those of preprocessing."""

from typing import Generic, TypeVar

from services.engine.threads.engine import Engine
from services.engine.threads.preprocessing import Preprocessing

E = TypeVar("E", bound=Engine)


class EngineThreads(Generic[E]):
    """An engine and the threads that prepare its requests."""

    def __init__(self, engine: E) -> None:
        self.engine = engine
        self.preprocessing = Preprocessing(engine.admission)

    def start(self) -> None:
        """Starts the engine. Called on the event loop."""
        self.engine.start()

    def trouble(self, seconds: float) -> str:
        """Returns why the model does not work, one of `faults.REASONS`; empty while it works. For any thread.

        A step that takes longer than `seconds` counts as hung; one that reads inputs may take longer.
        """
        return self.engine.trouble(seconds)

    def close(self) -> None:
        """Ends all of them."""
        self.engine.close()
        self.preprocessing.close()
