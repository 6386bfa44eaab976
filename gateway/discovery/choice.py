"""Makes the discovery source that the settings choose."""

from collections.abc import Iterable
from dataclasses import replace

from gateway.discovery.dns import DnsDiscovery
from gateway.discovery.places import GATEWAYS, HostPort, ServicePort
from gateway.discovery.settings import DiscoverySettings
from gateway.discovery.source import Discovery
from gateway.discovery.static import StaticDiscovery


def discovery_of(settings: DiscoverySettings) -> Discovery:
    """Returns the source that `settings` choose. It lists the gateways too, as members of the pool GATEWAYS.

    Raises:
        CannotServe: the source cannot be used, such as Kubernetes outside a cluster and without a kubeconfig.
    """
    if settings.discovery == "dns":
        return DnsDiscovery(_hosts(settings.dns, settings), settings.dns_refresh_seconds)
    if settings.discovery == "endpointslice":
        # Imported only here: the Kubernetes client takes 40 MB.
        from gateway.discovery.endpointslice import EndpointSliceDiscovery

        places = [ServicePort.parse(text) for text in settings.endpointslices]
        places += [replace(ServicePort.parse(text), pool=GATEWAYS) for text in settings.gateways]
        return EndpointSliceDiscovery(places, settings.namespace, settings.resync_seconds)
    return StaticDiscovery(_hosts(settings.static, settings))


def _hosts(endpoints: Iterable[str], settings: DiscoverySettings) -> list[HostPort]:
    gateways = [replace(HostPort.parse(text), pool=GATEWAYS) for text in settings.gateways]
    return [*map(HostPort.parse, endpoints), *gateways]
