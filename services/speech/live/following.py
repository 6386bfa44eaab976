"""A model that hears an utterance while it is spoken, and what it has written of it so far."""

from typing import Any, Protocol, runtime_checkable

from services.speech.live.reading import Reading


class Following(Protocol):
    """One utterance on its way through the model."""

    @property
    def caught_up(self) -> bool:
        """Whether all that it was given is worked on."""
        ...

    def push(self, samples: Any, /) -> None:
        """Takes the next samples, a numpy array `[n]`."""
        ...

    async def advanced(self) -> Reading:
        """Returns what is written, once there is more of it or all that was given is worked on."""
        ...

    async def finished(self) -> Reading:
        """Returns what is written, to its end: no more samples will come."""
        ...

    def cancel(self) -> None:
        """Lets the rest be. Harmless after the end."""
        ...


@runtime_checkable
class Follower(Protocol):
    """A model as one stream wishes it."""

    def follow(self) -> Following:
        """Begins an utterance.

        Raises:
            QueueFull: not now.
        """
        ...
