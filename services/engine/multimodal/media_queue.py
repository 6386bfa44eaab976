"""Requests whose media the model has not encoded yet."""

from bisect import insort

from services.engine.generation.group import SequenceGroup
from services.engine.generation.media import Medium
from services.engine.multimodal.encoder import MediaEncoder
from services.engine.multimodal.inputs import alike
from services.engine.multimodal.media_cache import MediaCache

_TOGETHER = 8
"""Media that are encoded at once, where no stream has to wait for it."""


class MediaQueue:
    """Encodes media of several requests together, a few at a time. Belongs to the engine's thread."""

    def __init__(self, encoder: MediaEncoder, cache: MediaCache) -> None:
        self._encoder = encoder
        self._cache = cache
        self._waiting: list[SequenceGroup] = []
        self._failed: dict[Medium, Exception] = {}

    def add(self, group: SequenceGroup) -> None:
        """Puts a request among the waiting."""
        insort(self._waiting, group, key=lambda one: one.order)

    def take(self) -> list[tuple[SequenceGroup, Exception | None]]:
        """Returns the requests that wait no longer: they are ready, or one of their media has failed."""
        self._waiting = [group for group in self._waiting if not group.ended]
        done = [(group, self._failure(group)) for group in self._waiting if not self._lacking(group)]
        self._waiting = [group for group in self._waiting if self._lacking(group)]
        self._failed.clear()
        return done

    def step(self, *, alone: bool) -> bool:
        """Encodes some media, one if not `alone`. Returns whether there were any. Failures are told by `take`."""
        pending = [medium for group in self._waiting for medium in self._lacking(group)]
        if not pending:
            return False
        kind = alike(pending[0])
        batch = [medium for medium in dict.fromkeys(pending) if alike(medium) == kind][: _TOGETHER if alone else 1]
        try:
            self._encode(batch)
        except Exception as error:
            self._encode_apart(batch, error)
        return True

    def _encode_apart(self, batch: list[Medium], error: Exception) -> None:
        for medium in batch:
            try:
                if len(batch) == 1:
                    raise error
                self._encode([medium])
            except Exception as own:
                self._failed[medium] = own

    def _encode(self, batch: list[Medium]) -> None:
        for medium, features in zip(batch, self._encoder.encode(batch), strict=True):
            medium.take(features)
            self._cache.keep(medium)

    def _lacking(self, group: SequenceGroup) -> list[Medium]:
        media = group.request.media
        if media is None or self._failure(group):
            return []
        return media.pending

    def _failure(self, group: SequenceGroup) -> Exception | None:
        media = group.request.media
        return next((self._failed[one] for one in media.media if one in self._failed), None) if media else None
