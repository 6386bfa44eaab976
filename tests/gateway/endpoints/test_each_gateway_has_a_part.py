"""Parts of many gateways are even, stable, and never keep a call from a free endpoint."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest

from gateway.config import GatewaySettings
from gateway.discovery import GATEWAYS, Member
from gateway.discovery.choice import discovery_of
from gateway.endpoints.catalog import Catalog
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.part import LEAST, Part
from gateway.endpoints.router import EndpointState
from sensorium.v1 import text_pb2
from tests.fakes.discovery import FakeDiscovery
from tests.fakes.text_service import FakeTextService
from tests.gateway.endpoints.test_catalog import GENERATE, ready
from tests.gateway.rig import rig
from tests.waiting import until

REQUEST = text_pb2.TokenizeRequest(texts=["a"])


@dataclass(frozen=True)
class Place:
    address: str


def _places(count: int) -> list[Place]:
    return [Place(f"10.0.{number // 256}.{number % 256}:50051") for number in range(count)]


def _parts(places: list[Place], gateways: int, sharing: int = 10) -> dict[str, set[Place]]:
    names = [f"10.1.0.{number}" for number in range(gateways)]
    return {name: set(Part.of(name, names, sharing).cut(places)[0]) for name in names}


def test_every_endpoint_is_in_equally_many_parts():
    shared = Counter(place for part in _parts(_places(1000), 50).values() for place in part)
    assert set(shared.values()) == {10}
    shared = Counter(place for part in _parts(_places(333), 50).values() for place in part)
    assert len(shared) == 333
    assert max(shared.values()) - min(shared.values()) <= 2


def test_a_part_and_the_rest_are_all_endpoints():
    places = _places(100)
    near, far = Part(7, 50, 10).cut(places)
    assert len(near) == 20
    assert sorted([*near, *far], key=hash) == sorted(places, key=hash)


def test_few_gateways_or_few_endpoints_are_not_divided():
    assert all(len(part) == 1000 for part in _parts(_places(1000), 10).values())
    assert all(len(part) == LEAST for part in _parts(_places(LEAST), 50).values())
    assert all(len(part) == LEAST for part in _parts(_places(20), 50).values())


def test_an_endpoint_that_joins_or_leaves_changes_parts_little():
    before, fewer, more = (_parts(_places(count), 50) for count in (1000, 999, 1001))
    assert max(len(before[name] ^ fewer[name]) for name in before) <= 3
    assert max(len(before[name] ^ more[name]) for name in before) <= 3


def test_a_gateway_that_joins_changes_parts_by_one_step_of_the_ring():
    before, after = _parts(_places(1000), 50), _parts(_places(1000), 51)
    # The start of a part moves by at most a fiftieth of the ring, which is a tenth of a part.
    assert max(len(before[name] - after[name]) for name in before) <= 1000 / 50 + 2


@pytest.mark.parametrize("own", ["10.1.0.3", "10.1.0.99"])
def test_a_gateway_that_is_not_listed_yet_counts_itself(own: str):
    assert Part.of(own, [f"10.1.0.{number}" for number in range(10)], 5).gateways == (10 if own == "10.1.0.3" else 11)


def test_gateways_are_found_where_endpoints_are():
    settings = GatewaySettings(static=("a:1",), gateways=("10.1.0.1:50050", "10.1.0.2:50050"), own_host="10.1.0.2")
    discovery = discovery_of(settings)
    assert discovery.pools == ("default",)

    async def first() -> frozenset[Member]:
        return await anext(discovery.snapshots())

    found = asyncio.run(first())
    assert {member.address for member in found if member.pool == GATEWAYS} == {"10.1.0.1:50050", "10.1.0.2:50050"}


@pytest.mark.parametrize("given", [{"gateways": "a:1"}, {"own_host": "a"}, {"gateways": "p=a:1", "own_host": "a"}])
def test_half_of_the_settings_is_refused(given: dict[str, str]):
    with pytest.raises(ValueError, match=r"come together|names a pool"):
        GatewaySettings(static=("b:1",), **given)


def test_the_rest_is_used_when_the_part_is_full_or_not_ready():
    near, far = Part(0, 50, 1).cut([ready(number) for number in range(20)])
    catalog = Catalog([*near, *far], 1.5, Part(0, 50, 1))
    chosen = [_chosen(catalog) for _ in range(6 * LEAST)]
    assert Counter(chosen) == dict.fromkeys(near, 6)
    assert _chosen(catalog) in far
    for endpoint in near:
        endpoint.health = EndpointState.NOT_SERVING
        endpoint.end(1)
    catalog = Catalog([*near, *far], 1.5, Part(0, 50, 1))
    assert {_chosen(catalog) for _ in range(30)} <= set(far)


def _chosen(catalog: Catalog) -> Endpoint:
    choice = catalog.choose("m", (GENERATE,))
    assert choice is not None
    assert choice.free
    choice.endpoint.begin(1)
    return choice.endpoint


async def test_a_gateway_learns_its_part_from_discovery(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(FakeTextService(concurrency=100)) for _ in range(LEAST + 2)]
        members = [Member(fake.address, "text") for fake in fakes]
        gateways = [Member(f"10.1.0.{number}:50050", GATEWAYS) for number in range(3)]
        discovery = FakeDiscovery(*members, *gateways)
        own = {"gateways": ("10.1.0.9:1",), "own_host": "10.1.0.1", "gateways_per_endpoint": 1}
        gateway = await stack.enter_async_context(rig(discovery=discovery, **own))
        assert len(gateway.gateway.pool.endpoints) == len(fakes)
        await asyncio.gather(*(gateway.text.Tokenize(REQUEST) for _ in range(40)))
        assert sum(bool(fake.seen) for fake in fakes) == LEAST
        discovery.tell(*members, replace(gateways[0], ready=False), gateways[1], replace(gateways[2], terminating=True))
        await until(lambda: "this is gateway 1 of 1" in caplog.text)
        await asyncio.gather(*(gateway.text.Tokenize(REQUEST) for _ in range(40)))
        assert all(fake.seen for fake in fakes)
