"""Sources of endpoints (static, DNS, Kubernetes EndpointSlices), all behind the protocol `Discovery`."""

from gateway.discovery.member import Member
from gateway.discovery.places import GATEWAYS
from gateway.discovery.source import Discovery

__all__ = ["GATEWAYS", "Discovery", "Member"]
