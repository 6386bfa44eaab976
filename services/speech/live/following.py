"""Interfaces for streaming models, which transcribe an utterance while it is spoken."""

from typing import Any, Protocol, runtime_checkable

from services.speech.live.reading import Reading


class Following(Protocol):
    """One utterance in a streaming model."""

    @property
    def caught_up(self) -> bool:
        """Whether the model has processed all samples pushed so far, as far as it can."""
        ...

    def push(self, samples: Any, /) -> None:
        """Takes the next samples, a numpy array `[n]` of float32."""
        ...

    async def advanced(self) -> Reading:
        """Waits for more text or until the model has caught up, and returns the text so far."""
        ...

    async def finished(self) -> Reading:
        """Ends the utterance and returns its whole text."""
        ...

    def cancel(self) -> None:
        """Cancels the utterance. Does nothing after its end."""
        ...


@runtime_checkable
class Follower(Protocol):
    """A streaming model with the options of one stream."""

    def follow(self) -> Following:
        """Starts an utterance.

        Raises:
            QueueFull: too many utterances are waiting.
        """
        ...
