"""How long an endpoint may send nothing of what it generates."""

import asyncio
from collections.abc import Awaitable
from time import perf_counter
from typing import TypeVar

from gateway.failure import EndpointSilent
from gateway.relay_settings import RelaySettings

T = TypeVar("T")


class Silence:
    """Watches over one attempt. Streams that generate nothing have no such limit.

    What passes between two messages while the caller takes nothing does not count: the endpoint may have sent long ago.
    """

    def __init__(self, settings: RelaySettings, generates: bool) -> None:
        self._first = settings.first_token_seconds if generates else None
        self._gap = settings.token_gap_seconds if generates else None
        self._waited = 0.0
        self._limit: asyncio.Timeout | None = None

    async def within(self, message: Awaitable[T], first: bool) -> T:
        """Returns the next message; `first` tells that nothing generated has come yet.

        Raises:
            EndpointSilent: it did not come in time.
        """
        seconds = self._first if first else self._gap
        if seconds is None:
            return await message
        begun = perf_counter()
        try:
            async with asyncio.timeout(seconds - self._waited if first else seconds) as self._limit:
                return await message
        except TimeoutError:
            raise EndpointSilent(seconds) from None
        finally:
            self._limit = None
            self._waited += perf_counter() - begun

    def broken(self) -> None:
        """Takes that a message has come and been passed on while `within` waits on: it gives the next one its time."""
        if self._limit is not None and self._gap is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._gap)
