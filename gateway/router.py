"""Chooses an endpoint for a call. Pure: what is known goes in, a choice or an error comes out."""

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
    """Not reached yet, or not any more."""
    NOT_SERVING = "not_serving"
    """Reached, and loading or draining: it gets no new work."""
    READY = "ready"
    """Gets work."""
    EJECTED = "ejected"
    """Ready by its own word, but its calls failed: it gets work only where no other endpoint is ready."""
    DRAINING = "draining"
    """Terminating, or no longer told of by discovery: it gets no new work and finishes what it has."""


@dataclass(frozen=True)
class ServedModel:
    """One model of one endpoint. `tasks` is empty where a model that is still loading does not know them yet."""

    name: str
    tasks: frozenset[int]
    ready: bool
    concurrency: int
    base: str = ""
    """The model that it is an adapter of, if it is one: such is meant by its name alone."""


class RoutableEndpoint(Protocol):
    """What the router needs to know of an endpoint."""

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
        """Whether it has ever told its models."""
        ...

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """What it told last, by name."""
        ...

    @property
    def in_flight(self) -> int:
        """Calls of this gateway that it works on."""
        ...

    @property
    def taken(self) -> int:
        """Slots that they take."""
        ...

    @property
    def full(self) -> bool:
        """Whether it refused a call a moment ago, as others than this gateway fill its queue."""
        ...

    @property
    def share(self) -> float:
        """How much of its capacity may be used, in (0, 1]."""
        ...


EndpointT = TypeVar("EndpointT", bound=RoutableEndpoint)


@dataclass(frozen=True)
class Choice(Generic[EndpointT]):
    """An endpoint, the model it was chosen for, and why it was: `only`, or `least_in_flight`.

    `free` tells whether it has room for one call more; if not, no endpoint has that serves this.
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

    That is the one with the least (calls in flight + 1) / concurrency, of those with a free slot if there are any, and
    `pick` decides between equals. An endpoint has `over_commit` times its concurrency of slots, rounded up. Endpoints
    whose address is in `tried` are passed over.

    Raises:
        SensoriumError: nothing serves this, or not now; the class says which.
    """
    name = model or only_model(endpoints, tasks)
    best, load, count = _least(endpoints, name, tasks, EndpointState.READY, over_commit, tried)
    if not best:
        # Of ejected endpoints one may work; of none, none.
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
    """Returns the least loaded endpoints in this state, their load, and how many are in it."""
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
    """Returns how loaded an endpoint is; one without a free slot, more than any other."""
    room = concurrency * endpoint.share
    load = (endpoint.in_flight + 1) / (room or 1.0)
    # One that does not tell how much it takes says so itself when it is full.
    return load + _FULL if endpoint.full or (room and endpoint.taken >= room * over_commit) else load


def has_room(load: float) -> bool:
    """Returns whether a load is that of an endpoint with a free slot."""
    return load < _FULL


def only_model(endpoints: Iterable[RoutableEndpoint], tasks: Collection[int]) -> str:
    """Returns the name of the one model that does one of `tasks`; adapters of it do not count.

    Raises:
        InvalidArgument: there are several; the violation names them.
        TaskNotSupported: there is none.
        NoEndpoint: there may be one on an endpoint that was never reached.
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
        told = ", ".join(_named(endpoints, name, tasks) for name in names)
        raise InvalidArgument([Violation("model", f"must be given, as several serve this task: {told}")])
    if names:
        return names[0]
    if not endpoints or not all(endpoint.learned for endpoint in endpoints):
        raise _no_endpoint()
    raise TaskNotSupported("No model that is served here can do this task.")


def _named(endpoints: Iterable[RoutableEndpoint], name: str, tasks: Collection[int]) -> str:
    """Returns a model's name, and where the call is one of several tasks, those of them that it does."""
    served = [endpoint.models[name].tasks for endpoint in endpoints if name in endpoint.models]
    does = [task for task in tasks if any(task in each for each in served)]
    if len(tasks) == 1 or not does:
        return name
    return f"{name} ({', '.join(task_name(task) for task in does)})"


def unknown_model(endpoints: Sequence[RoutableEndpoint], model: str) -> SensoriumError:
    """Returns the error for a name that no endpoint has told."""
    if endpoints and all(endpoint.learned for endpoint in endpoints):
        return ModelNotServed.of(model, {name for endpoint in endpoints for name in endpoint.models})
    return _no_endpoint(model)


def _able(endpoint: RoutableEndpoint, name: str, tasks: Collection[int]) -> bool:
    served = endpoint.models.get(name)
    if served is None:
        return False
    undecided = not served.ready and not served.tasks
    return undecided or not served.tasks.isdisjoint(tasks)


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
