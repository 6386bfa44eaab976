"""The threads of a model: its engine's own, and those around it."""

from typing import Generic, TypeVar

from services.engine.engine import Engine
from services.engine.preprocessing import Preprocessing

E = TypeVar("E", bound=Engine)


class EngineThreads(Generic[E]):
    """An engine, and what prepares its requests."""

    def __init__(self, engine: E) -> None:
        self.engine = engine
        self.preprocessing = Preprocessing(engine.admission)

    def start(self) -> None:
        """Starts what runs the model. Called on the event loop."""
        self.engine.start()

    def trouble(self, seconds: float) -> str:
        """Returns why the model does not work, one of `faults.REASONS`, or nothing where it does. Any thread.

        No step may take longer than `seconds`, but for those that read.
        """
        return self.engine.trouble(seconds)

    def close(self) -> None:
        """Ends all of them."""
        self.engine.close()
        self.preprocessing.close()
