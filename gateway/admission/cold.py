"""Models of pools that may be scaled to zero, for which calls wait (`cold_models`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.endpoints.router import EndpointState, RoutableEndpoint, ServedModel
from gateway.labels import modality_label
from sensorium.tasks import METHODS


@dataclass
class StandIn:
    """A placeholder for the endpoints of an empty pool, so that the router knows the pool's model. Never ready."""

    pool: str
    models: Mapping[str, ServedModel]
    guessed: bool = True
    """Whether the model's tasks are guessed from the pool's name, as no endpoint has reported them yet."""
    address: str = ""
    state: EndpointState = EndpointState.CONNECTING
    learned: bool = True
    in_flight: int = 0
    taken: int = 0
    full: bool = False
    share: float = 1.0


@dataclass
class ColdModels:
    """The models of `cold_models`. Their tasks are remembered once an endpoint has reported them."""

    stand_ins: dict[str, StandIn] = field(default_factory=lambda: dict[str, StandIn]())
    """By model name."""

    @classmethod
    def of(cls, models: Iterable[str]) -> "ColdModels":
        """Parses `POOL=MODEL` entries."""
        found: dict[str, StandIn] = {}
        for text in models:
            pool, _, name = text.partition("=")
            found[name] = StandIn(pool, {name: _unready(name, _tasks_of(pool))})
        return cls(found)

    def learn(self, endpoints: Iterable[RoutableEndpoint]) -> None:
        """Remembers the tasks that endpoints report for cold models."""
        for endpoint in endpoints:
            for name, model in endpoint.models.items():
                if model.tasks and (known := self.stand_ins.get(name)) is not None:
                    known.models, known.guessed = {name: _unready(name, model.tasks, model.base)}, False


def _unready(name: str, tasks: frozenset[int], base: str = "") -> ServedModel:
    return ServedModel(name, tasks, ready=False, concurrency=0, base=base)


def _tasks_of(pool: str) -> frozenset[int]:
    """Returns the tasks of the service that a pool is named after, as `text` and `text-small` are; empty if of none."""
    modality = pool.partition("-")[0]
    methods = [method for method in METHODS.values() if modality_label(method.name) == modality]
    return frozenset(task for method in methods for task in method.tasks)
