"""Writer: a verb that turns its request into a generation request."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from sensorium.errors import InvalidArgument, Violation
from services.generation.ask import Generation, GenerationAsk

AskT = TypeVar("AskT")

_PROMPT = "prompt"
"""The field that violations of a generator name for the prompt."""


class Starter(Protocol):
    """A generator of text."""

    async def start(self, ask: GenerationAsk) -> Generation:
        """Submits a request and returns its stream."""
        ...


class Writer(Generic[AskT]):
    """Turns each request into a generation request and submits that."""

    def __init__(self, generator: Starter, make: Callable[[AskT], GenerationAsk], field: str) -> None:
        """`field` is the request's field that the prompt is made from; violations of the prompt are reported for it."""
        self._generator = generator
        self._make = make
        self._field = field

    async def start(self, ask: AskT) -> Generation:
        """Submits the request and returns its stream. Raises what TextGenerator.start raises."""
        try:
            return await self._generator.start(self._make(ask))
        except InvalidArgument as error:
            raise InvalidArgument(map(self._of_field, error.violations)) from error

    def _of_field(self, wrong: Violation) -> Violation:
        inside = wrong.field == _PROMPT or wrong.field.startswith(f"{_PROMPT}.")
        return Violation(self._field, wrong.description) if inside else wrong
