"""What a source tells of one endpoint."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """An endpoint of a pool, in the words of Kubernetes' EndpointSlices; other sources know only ready ones."""

    address: str
    """HOST:PORT, with IPv6 in brackets."""
    pool: str
    ready: bool = True
    """Whether it may get new work. A terminating one gets none, whatever this says."""
    terminating: bool = False
    """Whether it finishes what it has and then ends."""
    replica: str = ""
    """Which replica answers at the address, where the source knows: another one may get the address later."""
