"""What the gateway can be told of where its endpoints are."""

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
"""By setting: the discovery it belongs to, and how one of its parts is read."""

_USED_BY = {"dns_refresh_seconds": "dns", "namespace": "endpointslice", "resync_seconds": "endpointslice"}


class DiscoverySettings(rpc.ServerSettings):
    """Where endpoints come from. What the chosen source does not use is refused, as somebody expects it to count."""

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
        description="With --discovery endpointslice: where the Services are; absent: beside the pod.",
    )
    resync_seconds: float = Field(
        300.0, ge=1, description="With --discovery endpointslice: lists anew this often, whatever the watch has told."
    )

    gateways: rpc.CommaSeparated = Field(
        (),
        description="Where the gateways of these endpoints are, this one too, in the form of the discovery's endpoints "
        "without a pool. Where there are many, each chooses among a part of the endpoints first.",
    )
    own_host: str | None = Field(
        None, min_length=1, description="Address, without a port, by which --gateways tells of this gateway."
    )
    gateways_per_endpoint: int = Field(
        10, ge=1, description="With --gateways: how many gateways choose each endpoint first; fewer choose among all."
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
                raise ValueError(f"{place!r} names a pool; gateways are of none")
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
    return f"it is not used with --discovery {chosen}; leave it out, or choose another discovery"
