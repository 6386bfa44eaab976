"""Models of pools that may have no endpoint at all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.labels import modality_label
from gateway.router import EndpointState, RoutableEndpoint, ServedModel
from sensorium.tasks import METHODS


@dataclass
class StandIn:
    """Takes the place of a pool's endpoints where there are none, so that the router knows of its model."""

    pool: str
    models: Mapping[str, ServedModel]
    told: bool = False
    """Whether an endpoint has told what the model can do; until then it is guessed."""
    address: str = ""
    state: EndpointState = EndpointState.CONNECTING
    learned: bool = True
    in_flight: int = 0
    taken: int = 0
    full: bool = False
    share: float = 1.0


@dataclass
class ColdModels:
    """The models of the settings, each of its pool; what they can do is remembered once an endpoint has told."""

    stand_ins: dict[str, StandIn] = field(default_factory=lambda: dict[str, StandIn]())
    """By model."""

    @classmethod
    def of(cls, models: Iterable[str]) -> "ColdModels":
        """Reads `POOL=MODEL` of each."""
        found: dict[str, StandIn] = {}
        for text in models:
            pool, _, name = text.partition("=")
            found[name] = StandIn(pool, {name: _unready(name, _tasks_of(pool))})
        return cls(found)

    def learn(self, endpoints: Iterable[RoutableEndpoint]) -> None:
        """Remembers what the models can do."""
        for endpoint in endpoints:
            for name, model in endpoint.models.items():
                if model.tasks and (known := self.stand_ins.get(name)) is not None:
                    known.models, known.told = {name: _unready(name, model.tasks, model.base)}, True


def _unready(name: str, tasks: frozenset[int], base: str = "") -> ServedModel:
    return ServedModel(name, tasks, ready=False, concurrency=0, base=base)


def _tasks_of(pool: str) -> frozenset[int]:
    """Returns the tasks of the service that a pool is named after, as `text` and `text-small` are; empty if of none."""
    modality = pool.partition("-")[0]
    methods = [method for method in METHODS.values() if modality_label(method.name) == modality]
    return frozenset(task for method in methods for task in method.tasks)
