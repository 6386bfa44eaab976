"""The queue of requests whose media are not encoded yet."""

import time
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch

from services.engine.device.faults import require_device
from services.engine.device.memory_errors import lacks_memory, let_go
from services.engine.generation.group import SequenceGroup
from services.engine.generation.running.media import Medium, Tensor
from services.engine.multimodal.inputs import alike
from services.engine.multimodal.media_cache import MediaCache
from services.engine.multimodal.turns import Turns

_TOGETHER = 8
"""The most media that are encoded together."""
_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 24}
"""The most input numbers of media that are encoded together: more would not be faster."""


class Encoder(Protocol):
    """Computes the features of media. Used in the thread that runs the model only."""

    @property
    def device(self) -> torch.device:
        """The model's device."""
        ...

    def on_module(self, call: Callable[[], None]) -> None:
        """Makes the encoder call `call` before each of its modules."""
        ...

    def encode(self, media: Sequence[Medium]) -> list[Tensor]:
        """Returns the features `[token_count, width]` of each of several media for which `alike` is equal."""
        ...


class MediaQueue:
    """Encodes media of several requests in batches, in time slices between steps. Used in the engine's thread only."""

    def __init__(self, encoder: Encoder, cache: MediaCache) -> None:
        self._encoder = encoder
        self._cache = cache
        self._waiting: list[SequenceGroup] = []
        self._batch: list[Medium] = []
        self._work: Turns[list[Tensor]] | None = None
        self._apart: set[Medium] = set()
        self._failed: dict[Medium, Exception] = {}
        self.lacked_memory: Callable[[], None] = lambda: None
        """Called when media did not fit into memory, together or alone."""
        encoder.on_module(self._pause)

    def add(self, group: SequenceGroup) -> None:
        """Adds a request to the waiting ones."""
        insort(self._waiting, group, key=lambda one: one.order)

    def step(self, seconds: float) -> bool:
        """Encodes for about `seconds`. Returns whether there was something to encode."""
        pending = dict.fromkeys(self._pending())
        self._apart.intersection_update(pending)
        if not any(medium in pending for medium in self._batch):
            self.stop()
        if self._work is None:
            if not pending:
                return False
            batch = self._batch = self._together(list(pending))
            self._work = Turns(lambda: self._encoder.encode(batch))
        began = time.monotonic()
        done = self._work.resume(seconds)
        self._account(began, time.monotonic() - began)
        if done:
            self._finish(self._work)
            self._work, self._batch = None, []
        return True

    def stop(self) -> None:
        """Stops encoding, when nobody waits for the result."""
        if self._work is not None:
            self._work.abandon()
            self._work, self._batch = None, []

    def take(self) -> list[tuple[SequenceGroup, Exception | None]]:
        """Removes and returns requests that are ready, or of which a medium has failed."""
        if not self._waiting:
            return []
        waiting = [group for group in self._waiting if not group.ended]
        done = [(group, self._failure(group)) for group in waiting if not self._lacking(group)]
        self._waiting = [group for group in waiting if self._lacking(group)]
        self._failed.clear()
        return done

    def _account(self, began: float, seconds: float) -> None:
        for group in self._waiting:
            if any(medium in self._batch for medium in self._lacking(group)):
                group.request.work.add(began, seconds)

    def _finish(self, work: Turns[list[Tensor]]) -> None:
        try:
            for medium, features in zip(self._batch, work.result(), strict=True):
                medium.take(features)
                self._cache.keep(medium)
        except Exception as error:
            require_device(error)
            if lacks_memory(error):
                self.lacked_memory()
                let_go(error)
            if len(self._batch) > 1:
                self._apart.update(self._batch)  # to find out whose fault it is
            else:
                self._failed[self._batch[0]] = error
        else:
            self._apart.difference_update(self._batch)

    def _together(self, pending: list[Medium]) -> list[Medium]:
        """Returns the first pending medium and those that are encoded together with it."""
        first, batch = pending[0], pending[:1]
        kind, room = alike(first), _ELEMENTS[self._encoder.device.type] - _elements(first)
        for medium in pending[1:] if first not in self._apart else []:
            if len(batch) < _TOGETHER and alike(medium) == kind and _elements(medium) <= room:
                batch.append(medium)
                room -= _elements(medium)
        return batch

    def _pause(self) -> None:
        if self._work is not None:
            self._work.pause()

    def _pending(self) -> Iterator[Medium]:
        for group in self._waiting:
            if not group.ended:
                yield from self._lacking(group)

    def _lacking(self, group: SequenceGroup) -> list[Medium]:
        media = group.request.media
        return [] if media is None or self._failure(group) else media.pending

    def _failure(self, group: SequenceGroup) -> Exception | None:
        media = group.request.media.media if group.request.media else ()
        return next((self._failed[medium] for medium in media if medium in self._failed), None)


def _elements(medium: Medium) -> int:
    return sum(value.numel() for value in medium.inputs.values())
