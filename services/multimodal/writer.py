"""A verb whose answer is generated."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from sensorium.errors import InvalidArgument, Violation
from services.generation.ask import Generation, GenerationAsk

Wish = TypeVar("Wish")

_PROMPT = "prompt"
"""What generators call what a model continues."""


class Starter(Protocol):
    """Generates text."""

    async def start(self, ask: GenerationAsk) -> Generation:
        """Accepts a request."""
        ...


class Writer(Generic[Wish]):
    """Makes a wish one for generated text."""

    def __init__(self, generator: Starter, make: Callable[[Wish], GenerationAsk], field: str) -> None:
        """`field` is what the prompt comes from; violations are of it."""
        self._generator = generator
        self._make = make
        self._field = field

    async def start(self, wish: Wish) -> Generation:
        """Accepts the wish and returns its stream. Raises what TextGenerator.start raises."""
        try:
            return await self._generator.start(self._make(wish))
        except InvalidArgument as error:
            raise InvalidArgument(map(self._of_field, error.violations)) from error

    def _of_field(self, wrong: Violation) -> Violation:
        inside = wrong.field == _PROMPT or wrong.field.startswith(f"{_PROMPT}.")
        return Violation(self._field, wrong.description) if inside else wrong
