"""The source that the settings choose."""

from gateway.discovery.dns import DnsDiscovery
from gateway.discovery.places import HostPort
from gateway.discovery.settings import DiscoverySettings
from gateway.discovery.source import Discovery
from gateway.discovery.static import StaticDiscovery
from sensorium import rpc


def discovery_of(settings: DiscoverySettings) -> Discovery:
    """Returns the source that `settings` choose."""
    if settings.discovery == "dns":
        return DnsDiscovery([HostPort.parse(text) for text in settings.dns], settings.dns_refresh_seconds)
    if settings.discovery == "endpointslice":
        raise rpc.CannotServe("EndpointSlices are not watched yet; choose static or dns.")
    return StaticDiscovery([HostPort.parse(text) for text in settings.static])
