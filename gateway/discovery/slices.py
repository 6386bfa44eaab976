"""Converts Kubernetes' EndpointSlices, as JSON, to members. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from gateway.discovery.member import Member
from gateway.discovery.places import ServicePort

Slice: TypeAlias = Mapping[str, Any]
"""An EndpointSlice of discovery.k8s.io/v1. Every list and condition in it may be null."""

SERVICE_LABEL = "kubernetes.io/service-name"


def members_of(slices: Iterable[Slice], places: Sequence[ServicePort]) -> frozenset[Member]:
    """Returns the endpoints of the Services; no two have the same address.

    A dual-stack replica counts once, by its IPv4 address. If slices disagree about a replica, as while it moves from
    one to another, its worst conditions count. If two replicas have the same address, as while the slice of the old one
    is not updated yet, the better one (ready before not ready before terminating) gets it.
    """
    slices = list(slices)
    found: dict[str, Member] = {}
    for place in places:
        for member in _replicas(_slices_of(slices, place), place):
            known = found.get(member.address)
            if known is None or _rank(member) > _rank(known):
                found[member.address] = member
    return frozenset(found.values())


def mistakes_in(slices: Iterable[Slice], places: Sequence[ServicePort]) -> list[str]:
    """Returns a clause for each place whose Service or port name seems to be wrong, for the log."""
    slices = list(slices)
    mistakes: list[str] = []
    for place in places:
        own = _slices_of(slices, place)
        if not own:
            # A Service without replicas has an empty slice, so none at all means a wrong name.
            mistakes.append(f"there is no EndpointSlice of a Service called {place.service}")
        elif any(piece.get("endpoints") and _port(piece, place) is None for piece in own):
            mistakes.append(f"Service {place.service} has endpoints without a port called {place.port_name}")
    return mistakes


def _slices_of(slices: Iterable[Slice], place: ServicePort) -> list[Slice]:
    """Returns the slices of a Service, IPv4 first, then by name."""
    own = [piece for piece in slices if _object(piece["metadata"].get("labels")).get(SERVICE_LABEL) == place.service]
    return sorted(own, key=lambda piece: (piece.get("addressType") != "IPv4", piece["metadata"]["name"]))


def _replicas(slices: Iterable[Slice], place: ServicePort) -> Iterable[Member]:
    found: dict[str, Member] = {}
    for piece in slices:
        port = _port(piece, place)
        if port is None:
            continue
        for endpoint in piece.get("endpoints") or ():
            if not endpoint.get("addresses"):
                continue
            member = _member(endpoint, piece.get("addressType") == "IPv6", port, place.pool)
            key = member.replica or member.address
            known = found.setdefault(key, member)
            found[key] = replace(
                known,
                ready=known.ready and member.ready,
                terminating=known.terminating or member.terminating,
            )
    return found.values()


def _member(endpoint: Mapping[str, Any], bracketed: bool, port: int, pool: str) -> Member:
    # By the API, the addresses of one endpoint are interchangeable, and only the first is ever used.
    host = endpoint["addresses"][0]
    # `serving` is ignored: an endpoint that is not ready gets no new calls, and its running calls continue anyway.
    conditions = _object(endpoint.get("conditions"))
    return Member(
        address=f"[{host}]:{port}" if bracketed else f"{host}:{port}",
        pool=pool,
        ready=_condition(conditions, "ready", unknown=True),
        terminating=_condition(conditions, "terminating", unknown=False),
        replica=_object(endpoint.get("targetRef")).get("uid") or "",
    )


def _condition(conditions: Mapping[str, bool | None], name: str, *, unknown: bool) -> bool:
    value = conditions.get(name)
    return unknown if value is None else value


def _port(piece: Slice, place: ServicePort) -> int | None:
    for port in piece.get("ports") or ():
        if port.get("name") == place.port_name:
            return port.get("port")
    return None


def _object(value: Any) -> Mapping[str, Any]:
    """Returns `value`, or an empty mapping if it is null."""
    return value or {}


def _rank(member: Member) -> int:
    return 0 if member.terminating else 2 if member.ready else 1
