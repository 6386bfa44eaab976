import pytest

from gateway.discovery import Member
from gateway.discovery.places import ServicePort
from gateway.discovery.slices import members_of, mistakes_in
from tests.fakes.kubernetes_api import endpoint, endpoint_slice

TEXT = ServicePort("text", "sensorium-text", "grpc")
VISION = ServicePort("vision", "sensorium-vision", "grpc")


@pytest.mark.parametrize(
    ("conditions", "ready", "terminating"),
    [
        ({}, True, False),
        ({"ready": None, "serving": None, "terminating": None}, True, False),
        ({"ready": True, "serving": True, "terminating": False}, True, False),
        ({"ready": False, "serving": False, "terminating": False}, False, False),
        ({"ready": False, "serving": True, "terminating": False}, False, False),
        ({"ready": False, "serving": True, "terminating": True}, False, True),
        ({"ready": True, "serving": True, "terminating": True}, True, True),
    ],
)
def test_conditions_are_read_as_the_api_says(conditions: dict[str, bool | None], ready: bool, terminating: bool):
    (member,) = members_of([endpoint_slice("sensorium-text", [endpoint("10.0.0.1", "a", **conditions)])], [TEXT])
    assert member == Member("10.0.0.1:50051", "text", ready, terminating, "a")


@pytest.mark.parametrize("absent", ["conditions", "targetRef"])
def test_null_conditions_are_unknown(absent: str):
    there = {**endpoint("10.0.0.1", "a"), absent: None}
    (member,) = members_of([endpoint_slice("sensorium-text", [there])], [TEXT])
    assert member.ready
    assert member.replica == ("" if absent == "targetRef" else "a")


def test_slices_of_a_service_are_one_pool_and_those_of_others_do_not_count():
    slices = [
        endpoint_slice(
            "sensorium-text",
            [endpoint(f"10.0.{part}.{index}", f"{part}-{index}") for index in range(100)],
            name=f"t{part}",
        )
        for part in range(3)
    ]
    slices.append(endpoint_slice("sensorium-vision", [endpoint("10.1.0.1", "v")], port=50052))
    slices.append(endpoint_slice("other", [endpoint("10.2.0.1", "o")]))
    members = members_of(slices, [TEXT, VISION])
    assert len([member for member in members if member.pool == "text"]) == 300
    assert [member.address for member in members if member.pool == "vision"] == ["10.1.0.1:50052"]
    assert len(members) == 301


def test_a_replica_with_two_addresses_is_one_endpoint():
    both = [
        endpoint_slice(
            "sensorium-text", [endpoint("fd00::1", "a"), endpoint("fd00::2", "b")], name="six", family="IPv6"
        ),
        endpoint_slice("sensorium-text", [endpoint("10.0.0.1", "a", ready=False, terminating=True)], name="two"),
    ]
    members = members_of(both, [TEXT])
    assert {member.address for member in members} == {"10.0.0.1:50051", "[fd00::2]:50051"}
    # While only one of its slices is updated, the worse conditions count.
    both[1]["endpoints"][0]["conditions"] = {"ready": True}
    both[0]["endpoints"][0]["conditions"] = {"ready": False, "terminating": True}
    assert Member("10.0.0.1:50051", "text", False, True, "a") in members_of(both, [TEXT])


def test_an_address_in_two_slices_is_one_endpoint():
    moving = [endpoint_slice("sensorium-text", [endpoint("10.0.0.1", "a")], name=name) for name in ("x", "y")]
    assert members_of(moving, [TEXT]) == {Member("10.0.0.1:50051", "text", replica="a")}


@pytest.mark.parametrize("order", [1, -1])
def test_an_address_reused_by_a_new_replica_belongs_to_the_new_one(order: int):
    old = endpoint_slice("sensorium-text", [endpoint("10.0.0.1", "old", ready=False, terminating=True)], name="x")
    new = endpoint_slice("sensorium-text", [endpoint("10.0.0.1", "new", ready=False)], name="y")
    assert members_of([old, new][::order], [TEXT]) == {Member("10.0.0.1:50051", "text", ready=False, replica="new")}


def test_the_port_is_found_by_its_name_in_each_slice():
    slices = [
        endpoint_slice("sensorium-text", [endpoint("10.0.0.1", "a")], name="a", port=1),
        endpoint_slice("sensorium-text", [endpoint("10.0.0.2", "b")], name="b", port=2),
        endpoint_slice("sensorium-text", [endpoint("10.0.0.3", "c")], name="c", port_name="metrics"),
    ]
    assert {member.address for member in members_of(slices, [TEXT])} == {"10.0.0.1:1", "10.0.0.2:2"}
    assert mistakes_in(slices, [TEXT, VISION]) == [
        "Service sensorium-text has endpoints without a port called grpc",
        "there is no EndpointSlice of a Service called sensorium-vision",
    ]
    (member,) = members_of(slices, [ServicePort("text", "sensorium-text", "metrics")])
    assert member.address == "10.0.0.3:50051"


def test_a_service_without_endpoints_is_an_empty_pool():
    empty = endpoint_slice("sensorium-text", None)
    empty["ports"] = None
    assert members_of([empty], [TEXT]) == frozenset()
    assert mistakes_in([empty], [TEXT]) == []
