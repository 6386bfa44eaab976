"""One replica of a service as the gateway knows it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.discovery import Member
from gateway.ejection import Ejection
from gateway.router import EndpointState, ServedModel
from sensorium.rpc.http2.channel import Channel
from sensorium.v1 import common_pb2, models_pb2

if TYPE_CHECKING:
    from gateway.ranking import Ranking

# Asked for by every call, of every endpoint: on Python 3.11, looking it up in the class takes ten times as long.
_READY = EndpointState.READY


class Endpoint:
    """A replica: what discovery and it itself told of it, its one channel, and how much it does for this gateway."""

    def __init__(
        self,
        member: Member,
        open_channel: Callable[[Member], Channel],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called at once when what it serves has changed, or what `state` is made of but for ejections."""
        self.address = member.address
        self.pool = member.pool
        self.learned = False
        self.learned_at = 0.0
        """When it last told its models, on the monotonic clock."""
        self.infos: tuple[models_pb2.ModelInfo, ...] = ()
        self.models: Mapping[str, ServedModel] = {}
        self.ejection = Ejection(time.monotonic)
        """What its calls show of it."""
        self.in_flight = 0
        self.taken = 0
        """Slots that calls in flight take."""
        self.idle = asyncio.Event()
        """Set while nothing is in flight."""
        self.idle.set()
        self.rankings: list[Ranking[Endpoint]] = []
        """Those that it tells of its load."""
        self._full_until = 0.0
        self._member = member
        self._health = EndpointState.CONNECTING
        self._removed = False
        self._changed = changed
        self._open_channel = open_channel

    @property
    def member(self) -> Member:
        """What discovery told last."""
        return self._member

    @member.setter
    def member(self, member: Member) -> None:
        self._member = member
        self._changed()

    @property
    def health(self) -> EndpointState:
        """What asking it shows: CONNECTING, NOT_SERVING or READY."""
        return self._health

    @health.setter
    def health(self, health: EndpointState) -> None:
        self._health = health
        self._changed()

    @property
    def removed(self) -> bool:
        """Whether discovery tells of it no longer."""
        return self._removed

    def remove(self) -> None:
        """Tells that discovery tells of it no longer."""
        self._removed = True
        self.rankings.clear()
        self._changed()

    @property
    def state(self) -> EndpointState:
        """Whether it can be used: by its own word, by discovery's, and by how its calls end."""
        if self._removed or self._member.terminating:
            return EndpointState.DRAINING
        if self._health is not _READY:
            return self._health
        if not self._member.ready:
            return EndpointState.NOT_SERVING
        return EndpointState.EJECTED if self.ejection.closed else _READY

    @property
    def share(self) -> float:
        """How much of its capacity may be used, in (0, 1]."""
        return self.ejection.share

    @property
    def settled(self) -> bool:
        """Whether time alone changes nothing of `state`, `share` and `full`."""
        return self.ejection.settled and not self.full

    @property
    def full(self) -> bool:
        """Whether it refused a call a moment ago, as others than this gateway fill its queue."""
        return self._full_until > 0.0 and time.monotonic() < self._full_until

    def refused(self, seconds: float) -> None:
        """Tells that it has no room for so many seconds; else it would look idle, and be sent call after call."""
        self._full_until = time.monotonic() + seconds
        self.rank()

    @property
    def capacity(self) -> int:
        """How many calls it works on at once; 0 unless it is ready."""
        if self.state is not EndpointState.READY:
            return 0
        return max((model.concurrency for model in self.models.values() if model.ready), default=0)

    # Made when it is first needed: a thousand of them at once would hold the event loop up.
    @cached_property
    def channel(self) -> Channel:
        """The one connection to it."""
        return self._open_channel(self.member)

    async def close(self) -> None:
        """Closes the channel, if there is one."""
        if "channel" in self.__dict__:
            await self.channel.close()

    def restarted(self) -> None:
        """Forgets what calls showed of the process that was here before."""
        self.ejection = Ejection(time.monotonic)
        self.rank()

    def learn(self, infos: tuple[models_pb2.ModelInfo, ...]) -> None:
        """Takes over what the endpoint tells of its models."""
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
            self._changed()

    def has_another(self, model: common_pb2.ModelIdentity) -> bool:
        """Returns whether it told last that it serves another revision of this model."""
        return any(info.identity.name == model.name and info.identity != model for info in self.infos)

    def begin(self, slots: int) -> None:
        """Counts one call more in flight, which takes so many slots."""
        self.in_flight += 1
        self.taken += slots
        self.idle.clear()
        self.rank()

    def end(self, slots: int) -> None:
        """Counts one call less in flight, which took so many slots."""
        self.in_flight -= 1
        self.taken -= slots
        if not self.in_flight:
            self.idle.set()
        self.rank()

    def rank(self) -> None:
        """Takes its place among the others, after a change of its load or of its ejection."""
        for ranking in self.rankings:
            ranking.place(self)
