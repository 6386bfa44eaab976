"""How long an endpoint may send nothing of what it generates."""

import asyncio
from collections.abc import Awaitable
from time import perf_counter
from typing import TypeVar

from gateway.failure import EndpointSilent
from gateway.relay_settings import RelaySettings

T = TypeVar("T")


class Silence:
    """Watches over one attempt, from its beginning. Streams that generate nothing have no such limit."""

    def __init__(self, settings: RelaySettings, generates: bool) -> None:
        self._first = settings.first_token_seconds if generates else None
        self._gap = settings.token_gap_seconds if generates else None
        self._begun = perf_counter()

    async def within(self, message: Awaitable[T], first: bool) -> T:
        """Returns the next message; `first` tells that nothing generated has come yet.

        Raises:
            EndpointSilent: it did not come in time.
        """
        seconds = self._first if first else self._gap
        if seconds is None:
            return await message
        left = seconds - (perf_counter() - self._begun) if first else seconds
        try:
            async with asyncio.timeout(left):
                return await message
        except TimeoutError:
            raise EndpointSilent(seconds) from None
