"""A verb whose answer is generated."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from services.generation.ask import Generation, GenerationAsk

Wish = TypeVar("Wish")


class Starter(Protocol):
    """Generates text."""

    async def start(self, ask: GenerationAsk) -> Generation:
        """Accepts a request."""
        ...


class Writer(Generic[Wish]):
    """Makes a wish one for generated text."""

    def __init__(self, generator: Starter, make: Callable[[Wish], GenerationAsk]) -> None:
        self._generator = generator
        self._make = make

    async def start(self, wish: Wish) -> Generation:
        """Accepts the wish and returns its stream. Raises what TextGenerator.start raises."""
        return await self._generator.start(self._make(wish))
