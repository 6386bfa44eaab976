"""What must hold of everything that is applied: functions of the rendered objects that yield a sentence for each fault.

security    what pods may do, and who holds which credential
network     who talks to whom
encryption  TLS, where an overlay has it
life        probes, drains, rollouts, disruptions
room        processor, memory, GPUs, scratch space
contents    images, models, settings
wiring      names, ports, selectors and references that have to agree
scaling     what writes replicas
"""

from collections.abc import Callable, Iterator

from tests.k8s.manifests import Manifest
from tests.k8s.policies import contents, encryption, life, network, room, scaling, security, wiring

Policy = Callable[[list[Manifest]], Iterator[str]]

POLICIES: list[Policy] = [
    function
    for module in (security, network, encryption, life, room, contents, wiring, scaling)
    for function in module.POLICIES
]
