"""One endpoint as a discovery source reports it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """An endpoint of a pool, with the conditions of Kubernetes' EndpointSlices. Other sources list only ready ones."""

    address: str
    """HOST:PORT, with IPv6 in brackets."""
    pool: str
    ready: bool = True
    """Whether it may get new calls. A terminating one gets none in any case."""
    terminating: bool = False
    """Whether it only finishes its calls and then ends."""
    replica: str = ""
    """Identity (pod UID) of the replica at the address, if known: the address may later belong to another replica."""
