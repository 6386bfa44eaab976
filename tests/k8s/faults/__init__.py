"""Ways to break manifests that keep every rule, by the rule that has to notice: name of the fault → what makes it."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.k8s.faults import contents, encryption, life, network, room, scaling, security, wiring
from tests.k8s.manifests import Manifest
from tests.k8s.policies import Policy

Fault = Callable[[list[Manifest]], Any]

FAULTS: Mapping[Policy, tuple[str, Mapping[str, Fault]]] = {
    **security.FAULTS,
    **network.FAULTS,
    **encryption.FAULTS,
    **life.FAULTS,
    **room.FAULTS,
    **contents.FAULTS,
    **wiring.FAULTS,
    **scaling.FAULTS,
}
"""Of each rule, the variant that is broken, and how."""
