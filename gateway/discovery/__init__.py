"""Where endpoints come from: one file per source, all of them behind `Discovery`."""

from gateway.discovery.member import Member
from gateway.discovery.places import GATEWAYS
from gateway.discovery.source import Discovery

__all__ = ["GATEWAYS", "Discovery", "Member"]
