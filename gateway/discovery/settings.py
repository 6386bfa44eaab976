"""Settings of discovery: where the endpoints, and the other gateways, are."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from gateway.discovery.places import HostPort, ServicePort
from sensorium import rpc

_PLACES: dict[str, tuple[str, Callable[[str], HostPort | ServicePort]]] = {
    "static": ("static", HostPort.parse),
    "dns": ("dns", HostPort.parse),
    "endpointslices": ("endpointslice", ServicePort.parse),
}
"""By setting: the discovery it belongs to, and the parser of one entry."""

_USED_BY = {"dns_refresh_seconds": "dns", "namespace": "endpointslice", "resync_seconds": "endpointslice"}


class DiscoverySettings(rpc.ServerSettings):
    """Where endpoints come from. Settings that the chosen source does not use are refused, as they have no effect."""

    discovery: Literal["static", "dns", "endpointslice"] = Field(
        "static", description="Where endpoints come from: static, dns or endpointslice."
    )
    static: rpc.CommaSeparated = Field(
        (),
        description="With --discovery static: the endpoints, POOL=HOST:PORT, separated by commas. Without a name, the "
        "pool is called default.",
    )
    dns: rpc.CommaSeparated = Field(
        (),
        description="With --discovery dns: names whose addresses are the endpoints of a pool, such as a headless "
        "Service, POOL=NAME:PORT, separated by commas.",
    )
    dns_refresh_seconds: float = Field(5.0, gt=0, description="With --discovery dns: looks names up this often.")
    endpointslices: rpc.CommaSeparated = Field(
        (),
        description="With --discovery endpointslice: Kubernetes Services whose EndpointSlices are watched, "
        "POOL=SERVICE:PORTNAME, separated by commas. Without a name, the port is called grpc.",
    )
    namespace: str | None = Field(
        None,
        min_length=1,
        description="With --discovery endpointslice: namespace of the Services; absent: the pod's own.",
    )
    resync_seconds: float = Field(
        300.0, ge=1, description="With --discovery endpointslice: repeats the full list this often, beside the watch."
    )

    gateways: rpc.CommaSeparated = Field(
        (),
        description="Where all gateways of these endpoints are, including this one: entries as for the endpoints of "
        "the chosen discovery, but without a pool. If there are many, each gateway prefers a part of the endpoints.",
    )
    own_host: str | None = Field(
        None, min_length=1, description="This gateway's own address among --gateways, without a port."
    )
    gateways_per_endpoint: int = Field(
        10, ge=1, description="With --gateways: how many gateways prefer each endpoint; with fewer, all use all."
    )

    @field_validator("static", "dns", "endpointslices")
    @classmethod
    def _places(cls, places: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        setting = str(info.field_name)
        source, parse = _PLACES[setting]
        chosen = info.data.get("discovery", source if places else None)
        if places and chosen != source:
            raise ValueError(_unused(chosen))
        if not places and chosen == source:
            raise PydanticKnownError("missing")
        places = tuple(dict.fromkeys(places))
        addresses = [place.address for place in map(parse, places) if isinstance(place, HostPort)]
        if len(set(addresses)) < len(addresses):
            raise ValueError("an address is in two pools")
        return places

    @field_validator("gateways")
    @classmethod
    def _gateways(cls, places: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        parse = next(parse for source, parse in _PLACES.values() if source == info.data.get("discovery", "static"))
        for place in places:
            if "=" in place:
                raise ValueError(f"{place!r} names a pool; gateways have none")
            parse(place)
        return places

    @field_validator("own_host")
    @classmethod
    def _own_host(cls, host: str | None, info: ValidationInfo) -> str | None:
        if (host is None) == bool(info.data.get("gateways", host)):
            raise ValueError("--gateways and --own-host come together; one of them is missing")
        return host

    @field_validator(*_USED_BY)
    @classmethod
    def _used(cls, value: Any, info: ValidationInfo) -> Any:
        setting = str(info.field_name)
        source = _USED_BY[setting]
        if (chosen := info.data.get("discovery", source)) != source and value != cls.model_fields[setting].default:
            raise ValueError(_unused(chosen))
        return value


def _unused(chosen: Any) -> str:
    return f"it has no effect with --discovery {chosen}; remove it, or choose another discovery"
