"""From the EndpointSlices of Kubernetes, as JSON, to members. Pure."""

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

    Of a replica with addresses of both families, IPv4 counts. Where slices differ about a replica, as they may while an
    endpoint moves from one to another, it is as good as the worse of them. Where two replicas have one address, as when
    it was given to a new one before the old one's slice had been written, the address is that of the better one.
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
    """Returns a sentence for each place that no endpoint will ever come from as things stand."""
    slices = list(slices)
    sentences: list[str] = []
    for place in places:
        own = _slices_of(slices, place)
        if not own:
            # Kubernetes writes an empty one for a Service without replicas.
            sentences.append(f"there is no EndpointSlice of a Service called {place.service}")
        elif any(piece.get("endpoints") and _port(piece, place) is None for piece in own):
            sentences.append(f"Service {place.service} has endpoints without a port called {place.port_name}")
    return sentences


def _slices_of(slices: Iterable[Slice], place: ServicePort) -> list[Slice]:
    """Returns the slices of a Service, those of IPv4 first."""
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
    # All addresses of one endpoint are the same to a caller, says the API, and only the first is ever used.
    host = endpoint["addresses"][0]
    # `serving` decides nothing: what is not ready gets no new work even if it serves, and what it has goes on anyway.
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
    """Returns `value`, or nothing where it is null."""
    return value or {}


def _rank(member: Member) -> int:
    return 0 if member.terminating else 2 if member.ready else 1
