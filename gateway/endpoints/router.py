"""Chooses an endpoint for a call. Pure functions: no I/O and no state."""

import math
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, NoReturn, Protocol, TypeVar

from gateway.labels import task_name
from sensorium.errors import (
    InvalidArgument,
    ModelNotReady,
    ModelNotServed,
    NoEndpoint,
    SensoriumError,
    TaskNotSupported,
    Violation,
)

RETRY_AFTER_SECONDS = 1.0

_FULL = 1e9


class EndpointState(Enum):
    """Whether an endpoint can be used."""

    CONNECTING = "connecting"
    """Not connected: not reached yet, or the connection was lost."""
    NOT_SERVING = "not_serving"
    """Connected, but loading or draining: it gets no new calls."""
    READY = "ready"
    """Gets calls."""
    EJECTED = "ejected"
    """It reports ready, but its calls failed: it gets calls only if no other endpoint is ready."""
    DRAINING = "draining"
    """Terminating, or removed by discovery: it gets no new calls and finishes those it has."""


@dataclass(frozen=True)
class ServedModel:
    """One model of one endpoint. `tasks` is empty while a loading model does not know them yet."""

    name: str
    tasks: frozenset[int]
    ready: bool
    concurrency: int
    base: str = ""
    """The base model if this is an adapter, else empty. A call must name an adapter to get it."""


class RoutableEndpoint(Protocol):
    """The properties of an endpoint that the router reads."""

    @property
    def address(self) -> str:
        """HOST:PORT."""
        ...

    @property
    def state(self) -> EndpointState:
        """Whether it can be used."""
        ...

    @property
    def learned(self) -> bool:
        """Whether it has ever reported its models."""
        ...

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """The models that it reported last, by name."""
        ...

    @property
    def in_flight(self) -> int:
        """Calls of this gateway that run there."""
        ...

    @property
    def taken(self) -> int:
        """Slots that these calls occupy."""
        ...

    @property
    def full(self) -> bool:
        """Whether it answered QUEUE_FULL a moment ago: callers other than this gateway fill its queue."""
        ...

    @property
    def share(self) -> float:
        """Fraction of its capacity that may be used, in (0, 1]."""
        ...


EndpointT = TypeVar("EndpointT", bound=RoutableEndpoint)


@dataclass(frozen=True)
class Choice(Generic[EndpointT]):
    """An endpoint, the model it was chosen for, and the reason: `only` or `least_in_flight`.

    `free` tells whether it has a free slot. If not, no endpoint that serves the model has one.
    """

    endpoint: EndpointT
    model: str
    reason: str
    free: bool


def route(
    endpoints: Sequence[EndpointT],
    tasks: Collection[int],
    model: str,
    *,
    over_commit: float = 1.0,
    tried: Collection[str] = (),
    pick: Callable[[Sequence[EndpointT]], EndpointT] = random.choice,
) -> Choice[EndpointT]:
    """Returns the endpoint for a call of one of `tasks` with `model`, which may be empty.

    Endpoints with a free slot come first; among them the least (calls in flight + 1) / concurrency wins, and `pick`
    breaks ties. An endpoint has `over_commit` times its concurrency of slots, rounded up. Endpoints whose address is in
    `tried` are skipped. Ejected endpoints are considered only if none is ready.

    Raises:
        InvalidArgument: `model` is empty, and several models do one of the tasks.
        ModelNotServed, TaskNotSupported: no endpoint has the model, or the model cannot do the tasks.
        NoEndpoint, ModelNotReady: an endpoint may serve it later.
    """
    name = model or only_model(endpoints, tasks)
    best, load, count = _least(endpoints, name, tasks, EndpointState.READY, over_commit, tried)
    if not best:
        # An ejected endpoint may work again; refusing the call certainly fails.
        best, load, count = _least(endpoints, name, tasks, EndpointState.EJECTED, over_commit, tried)
    if not best:
        _refuse(endpoints, name, [endpoint for endpoint in endpoints if _able(endpoint, name, tasks)])
    return Choice(pick(best), name, "only" if count == 1 else "least_in_flight", has_room(load))


def _least(
    endpoints: Sequence[EndpointT],
    name: str,
    tasks: Collection[int],
    state: EndpointState,
    over_commit: float,
    tried: Collection[str],
) -> tuple[list[EndpointT], float, int]:
    """Returns the least loaded usable endpoints in `state`, their load, and how many usable ones are in `state`."""
    best: list[EndpointT] = []
    least, count = math.inf, 0
    for endpoint in endpoints:
        served = endpoint.models.get(name)
        if served is None or not served.ready or served.tasks.isdisjoint(tasks):
            continue
        if endpoint.state is not state or endpoint.address in tried:
            continue
        count += 1
        load = load_of(endpoint, served.concurrency, over_commit)
        if load < least:
            least, best = load, [endpoint]
        elif load == least:
            best.append(endpoint)
    return best, least, count


def load_of(endpoint: RoutableEndpoint, concurrency: int, over_commit: float) -> float:
    """Returns (calls in flight + 1) / usable concurrency; without a free slot, plus a constant above any such load."""
    room = concurrency * endpoint.share
    load = (endpoint.in_flight + 1) / (room or 1.0)
    # Concurrency 0 means unknown: such an endpoint is full only when it answers QUEUE_FULL.
    return load + _FULL if endpoint.full or (room and endpoint.taken >= room * over_commit) else load


def has_room(load: float) -> bool:
    """Returns whether an endpoint of this load has a free slot."""
    return load < _FULL


def only_model(endpoints: Iterable[RoutableEndpoint], tasks: Collection[int]) -> str:
    """Returns the name of the only model that does one of `tasks`. Adapters do not count.

    Raises:
        InvalidArgument: there are several; the violation lists them.
        TaskNotSupported: there is none.
        NoEndpoint: there is none, but there is no endpoint at all, or one has not reported its models yet.
    """
    endpoints = list(endpoints)
    names = sorted(
        {
            name
            for endpoint in endpoints
            for name, served in endpoint.models.items()
            if not served.base and _able(endpoint, name, tasks)
        }
    )
    if len(names) > 1:
        described = ", ".join(_described(endpoints, name, tasks) for name in names)
        raise InvalidArgument([Violation("model", f"must be given, as several serve this task: {described}")])
    if names:
        return names[0]
    if not endpoints or not all(endpoint.learned for endpoint in endpoints):
        raise _no_endpoint()
    raise TaskNotSupported("No model that is served here can do this task.")


def _described(endpoints: Iterable[RoutableEndpoint], name: str, tasks: Collection[int]) -> str:
    """Returns a model's name, followed by those of `tasks` that it does if there are several tasks."""
    served = [endpoint.models[name].tasks for endpoint in endpoints if name in endpoint.models]
    does = [task for task in tasks if any(task in each for each in served)]
    if len(tasks) == 1 or not does:
        return name
    return f"{name} ({', '.join(task_name(task) for task in does)})"


def unknown_model(endpoints: Sequence[RoutableEndpoint], model: str) -> SensoriumError:
    """Returns the error for a model that no endpoint has reported: ModelNotServed once all have, else NoEndpoint."""
    if endpoints and all(endpoint.learned for endpoint in endpoints):
        return ModelNotServed.of(model, {name for endpoint in endpoints for name in endpoint.models})
    return _no_endpoint(model)


def _able(endpoint: RoutableEndpoint, name: str, tasks: Collection[int]) -> bool:
    served = endpoint.models.get(name)
    if served is None:
        return False
    tasks_unknown = not served.ready and not served.tasks
    return tasks_unknown or not served.tasks.isdisjoint(tasks)


def _refuse(endpoints: Sequence[RoutableEndpoint], name: str, able: Sequence[RoutableEndpoint]) -> NoReturn:
    if not any(name in endpoint.models for endpoint in endpoints):
        raise unknown_model(endpoints, name)
    if not able:
        raise TaskNotSupported(f"Model {name!r} cannot do this task.", metadata={"model": name})
    if any(endpoint.state is not EndpointState.CONNECTING for endpoint in able):
        raise ModelNotReady(f"Model {name!r} is not ready.", metadata={"model": name}, retry_after=RETRY_AFTER_SECONDS)
    raise _no_endpoint(name)


def _no_endpoint(model: str = "") -> NoEndpoint:
    message = f"No endpoint for model {model!r} can be reached." if model else "No endpoint can be reached."
    return NoEndpoint(message, metadata={"model": model} if model else None, retry_after=RETRY_AFTER_SECONDS)
