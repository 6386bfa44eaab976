"""The source that the settings choose."""

from gateway.discovery.dns import DnsDiscovery
from gateway.discovery.places import HostPort, ServicePort
from gateway.discovery.settings import DiscoverySettings
from gateway.discovery.source import Discovery
from gateway.discovery.static import StaticDiscovery


def discovery_of(settings: DiscoverySettings) -> Discovery:
    """Returns the source that `settings` choose.

    Raises:
        CannotServe: it is not there, such as Kubernetes outside a cluster without a kubeconfig.
    """
    if settings.discovery == "dns":
        return DnsDiscovery([HostPort.parse(text) for text in settings.dns], settings.dns_refresh_seconds)
    if settings.discovery == "endpointslice":
        # Its client takes 40 MB, which other sources need not spend.
        from gateway.discovery.endpointslice import EndpointSliceDiscovery

        places = [ServicePort.parse(text) for text in settings.endpointslices]
        return EndpointSliceDiscovery(places, settings.namespace, settings.resync_seconds)
    return StaticDiscovery([HostPort.parse(text) for text in settings.static])
