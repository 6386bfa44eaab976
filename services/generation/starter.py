"""What starts generations, as servicers call it."""

from collections.abc import Callable
from typing import Protocol

from services.engine.structure.format import StructureFormat
from services.generation.ask import Generation, GenerationAsk


class Starter(Protocol):
    """See TextGenerator."""

    async def start_all(
        self, make: Callable[[], list[GenerationAsk]], structured: StructureFormat | None
    ) -> list[Generation]:
        """Accepts the requests that `make`, which is run in a preprocessing thread, returns."""
        ...
