"""One replica of a service: its state, models, load and connection, as this gateway sees them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.discovery import Member
from gateway.endpoints.ejection import Ejection
from gateway.endpoints.router import EndpointState, ServedModel
from sensorium.rpc.http2.channel import Channel
from sensorium.v1 import common_pb2, models_pb2

if TYPE_CHECKING:
    from gateway.endpoints.ranking import Ranking

# Compared for each endpoint on each call. On Python 3.11, looking a member up in its Enum takes ten times as long.
_READY = EndpointState.READY


class Endpoint:
    """A replica, with one channel to it. Belongs to the event loop."""

    def __init__(
        self,
        member: Member,
        open_channel: Callable[[Member], Channel],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called whenever its models or its `state` change, unless `state` changes by an ejection."""
        self.address = member.address
        self.pool = member.pool
        self.learned = False
        self.learned_at = 0.0
        """When it last reported its models, on the monotonic clock."""
        self.infos: tuple[models_pb2.ModelInfo, ...] = ()
        self.models: Mapping[str, ServedModel] = {}
        self.ejection = Ejection(time.monotonic)
        """Judges it by how its calls end."""
        self.in_flight = 0
        self.taken = 0
        """Slots that calls in flight occupy."""
        self.idle = asyncio.Event()
        """Set while no call is in flight."""
        self.idle.set()
        self.rankings: list[Ranking[Endpoint]] = []
        """The rankings to update when its load changes."""
        self._full_until = 0.0
        self._member = member
        self._health = EndpointState.CONNECTING
        self._removed = False
        self._on_change = changed
        self._open_channel = open_channel

    @property
    def member(self) -> Member:
        """What discovery reported last."""
        return self._member

    @member.setter
    def member(self, member: Member) -> None:
        self._member = member
        self._on_change()

    @property
    def health(self) -> EndpointState:
        """What its health check shows: CONNECTING, NOT_SERVING or READY."""
        return self._health

    @health.setter
    def health(self, health: EndpointState) -> None:
        self._health = health
        self._on_change()

    @property
    def removed(self) -> bool:
        """Whether discovery no longer lists it, or another connection has replaced it."""
        return self._removed

    def remove(self) -> None:
        """Marks it as removed: it gets no new calls."""
        self._removed = True
        self.rankings.clear()
        self._on_change()

    @property
    def state(self) -> EndpointState:
        """Whether it can be used, by discovery, by its own health, and by how its calls end."""
        if self._removed or self._member.terminating:
            return EndpointState.DRAINING
        if self._health is not _READY:
            return self._health
        if not self._member.ready:
            return EndpointState.NOT_SERVING
        return EndpointState.EJECTED if self.ejection.closed else _READY

    @property
    def share(self) -> float:
        """Fraction of its capacity that may be used, in (0, 1]."""
        return self.ejection.share

    @property
    def settled(self) -> bool:
        """Whether `state`, `share` and `full` stay as they are when only time passes."""
        return self.ejection.settled and not self.full

    @property
    def full(self) -> bool:
        """Whether it answered QUEUE_FULL a moment ago: callers other than this gateway fill its queue."""
        return self._full_until > 0.0 and time.monotonic() < self._full_until

    def refused(self, seconds: float) -> None:
        """Treats it as full for `seconds`. By this gateway's own calls it would look idle and get call after call."""
        self._full_until = time.monotonic() + seconds
        self.rank()

    @property
    def capacity(self) -> int:
        """How many calls it runs at once; 0 unless it is ready."""
        if self.state is not EndpointState.READY:
            return 0
        return max((model.concurrency for model in self.models.values() if model.ready), default=0)

    # Made at first use: making a thousand at once would block the event loop.
    @cached_property
    def channel(self) -> Channel:
        """The one connection to it."""
        return self._open_channel(self.member)

    async def close(self) -> None:
        """Closes the channel, if there is one."""
        if "channel" in self.__dict__:
            await self.channel.close()

    def restarted(self) -> None:
        """Resets the ejection record: another process may run at the address now."""
        self.ejection = Ejection(time.monotonic)
        self.rank()

    def learn(self, infos: tuple[models_pb2.ModelInfo, ...]) -> None:
        """Stores the models that the endpoint reports."""
        self.infos = infos
        models = {
            info.identity.name: ServedModel(
                name=info.identity.name,
                tasks=frozenset(info.tasks),
                ready=info.state == models_pb2.MODEL_STATE_READY,
                concurrency=info.concurrency,
                base=info.base_model,
            )
            for info in infos
        }
        self.learned_at = time.monotonic()
        if models != self.models or not self.learned:
            self.models, self.learned = models, True
            self._on_change()

    def has_another(self, model: common_pb2.ModelIdentity) -> bool:
        """Returns whether it last reported another revision of this model."""
        return any(info.identity.name == model.name and info.identity != model for info in self.infos)

    def begin(self, slots: int) -> None:
        """Counts one more call in flight, which occupies `slots`."""
        self.in_flight += 1
        self.taken += slots
        self.idle.clear()
        self.rank()

    def end(self, slots: int) -> None:
        """Counts one call less in flight, which occupied `slots`."""
        self.in_flight -= 1
        self.taken -= slots
        if not self.in_flight:
            self.idle.set()
        self.rank()

    def rank(self) -> None:
        """Updates its place in its rankings. Called after its load or ejection has changed."""
        for ranking in self.rankings:
            ranking.place(self)
