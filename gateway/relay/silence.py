"""Limits the time in which an endpoint generates nothing: to the first token, and between tokens."""

import asyncio
from collections.abc import Awaitable
from time import perf_counter
from typing import TypeVar

from gateway.relay.failure import EndpointSilent
from gateway.relay.settings import RelaySettings

T = TypeVar("T")


class Silence:
    """The watchdog of one attempt. Only streams that generate (`generates`) have limits.

    Only the time spent waiting for the endpoint counts, not the time in which the caller reads nothing.
    """

    def __init__(self, settings: RelaySettings, generates: bool) -> None:
        self._first = settings.first_token_seconds if generates else None
        self._gap = settings.token_gap_seconds if generates else None
        self._waited = 0.0
        self._limit: asyncio.Timeout | None = None

    async def within(self, message: Awaitable[T], first: bool) -> T:
        """Awaits and returns `message`. `first`: no generated output has arrived yet.

        Raises:
            EndpointSilent: it did not arrive in time.
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
        """Restarts the limit of a running `within`, after a message arrived and was passed on without ending it."""
        if self._limit is not None and self._gap is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._gap)
