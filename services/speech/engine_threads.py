"""What runs a model of speech that has an engine of its own kind."""

from dataclasses import dataclass

from services.batched_model import Threads
from services.engine.preprocessing import Preprocessing


@dataclass(frozen=True)
class EngineThreads:
    """An engine, and what prepares its requests."""

    engine: Threads
    preprocessing: Preprocessing

    def start(self) -> None:
        """See LoadedService."""
        self.engine.start()

    def trouble(self, seconds: float) -> str:
        """See LoadedService."""
        return self.engine.trouble(seconds)

    def close(self) -> None:
        """See LoadedService."""
        self.engine.close()
        self.preprocessing.close()
