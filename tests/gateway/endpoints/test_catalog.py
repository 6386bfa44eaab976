"""The catalog chooses as the router does, after any sequence of calls, ejections and time."""

import random
from collections.abc import Collection

import pytest

from gateway.discovery import Member
from gateway.endpoints.catalog import Catalog
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.router import EndpointState, route
from sensorium.errors import SensoriumError
from sensorium.v1 import models_pb2

GENERATE, EMBED = models_pb2.TASK_GENERATE_TEXT, models_pb2.TASK_EMBED_TEXT
OVER_COMMIT = 1.5


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _info(name: str, tasks: Collection[int], concurrency: int) -> models_pb2.ModelInfo:
    info = models_pb2.ModelInfo(state=models_pb2.MODEL_STATE_READY, tasks=tasks, concurrency=concurrency)
    info.identity.name = name
    return info


def ready(number: int, *infos: models_pb2.ModelInfo, pool: str = "p") -> Endpoint:
    endpoint = Endpoint(Member(f"10.0.{number // 256}.{number % 256}:1", pool), lambda _: pytest.fail("no connection"))
    endpoint.learn(infos or (_info("m", (GENERATE,), 4),))
    endpoint.health = EndpointState.READY
    return endpoint


def _agree(catalog: Catalog, endpoints: list[Endpoint], tasks: Collection[int], pool: str) -> None:
    within = [each for each in endpoints if pool in ("", each.pool)]
    equals: list[Endpoint] = []

    def pick(best):
        equals.extend(best)
        return best[0]

    try:
        expected = route(within, tasks, "m", over_commit=OVER_COMMIT, pick=pick)
    except SensoriumError:
        assert catalog.choose("m", tasks, pool) is None
        return
    choice = catalog.choose("m", tasks, pool)
    if all(each.state is EndpointState.EJECTED for each in equals):
        assert choice is None
    else:
        assert choice is not None
        assert choice.endpoint in equals
        assert (choice.reason, choice.free) == (expected.reason, expected.free)


def _happens(draws: random.Random, endpoint: Endpoint, clock: Clock, running: list[Endpoint]) -> None:
    event = draws.random()
    if event < 0.6:
        endpoint.begin(draws.choice((1, 1, 0)))
        running.append(endpoint)
    elif event < 0.9 and running:
        ended = running.pop(draws.randrange(len(running)))
        ended.end(min(1, ended.taken))
    elif event < 0.96:
        for _ in range(5):
            endpoint.ejection.ended(draws.random() < 0.1, endpoint.ejection.dispatched(), lambda: True)
        endpoint.rank()
    else:
        clock.now += draws.uniform(0, 20)


@pytest.mark.parametrize("seed", range(8))
def test_it_chooses_as_the_router_does(seed: int):
    draws, clock = random.Random(seed), Clock()
    abilities = ((GENERATE,), (EMBED, GENERATE))
    endpoints = [
        ready(number, _info("m", draws.choice(abilities), draws.choice((0, 1, 4))), pool="pq"[number % 2])
        for number in range(6)
    ]
    for endpoint in endpoints:
        endpoint.ejection.clock = clock
    catalog, running = Catalog(endpoints, OVER_COMMIT), list[Endpoint]()
    for _ in range(400):
        _happens(draws, draws.choice(endpoints), clock, running)
        for tasks in ((GENERATE,), (EMBED,)):
            for pool in ("", "p"):
                _agree(catalog, endpoints, tasks, pool)


def test_equals_are_chosen_at_random():
    catalog = Catalog([ready(number) for number in range(3)], OVER_COMMIT)
    chosen = [catalog.choose("m", (GENERATE,)) for _ in range(200)]
    assert len({choice.endpoint for choice in chosen if choice}) == 3


def test_an_unchanged_report_of_models_is_no_change():
    changes: list[None] = []
    endpoint = Endpoint(Member("10.0.0.1:1", "p"), lambda _: pytest.fail(), lambda: changes.append(None))
    endpoint.learn((_info("m", (GENERATE,), 4),))
    endpoint.learn((_info("m", (GENERATE,), 4),))
    assert len(changes) == 1
    endpoint.learn((_info("m", (GENERATE,), 8),))
    assert len(changes) == 2


def test_a_thousand_endpoints_are_not_walked_through():
    endpoints = [ready(number) for number in range(1000)]
    catalog = Catalog(endpoints, OVER_COMMIT)
    assert catalog.choose("m", (GENERATE,))
    for endpoint in endpoints:
        endpoint.ejection = _Untouchable()
    for _ in range(100):
        assert catalog.choose("m", (GENERATE,))


class _Untouchable:
    """An ejection that fails if any attribute is read."""

    def __getattr__(self, name: str) -> None:
        raise AssertionError(f"{name} was read of an endpoint whose load has not changed")
