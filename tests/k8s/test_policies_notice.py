import pytest

from tests.k8s.faults import FAULTS, Fault
from tests.k8s.policies import POLICIES, Policy, scaling
from tests.k8s.variants import objects_of

CASES = [
    pytest.param(policy, variant, fault, id=f"{policy.__name__}-{name}".replace(" ", "-"))
    for policy, (variant, faults) in FAULTS.items()
    for name, fault in faults.items()
]


@pytest.mark.parametrize(("policy", "variant", "fault"), CASES)
def test_a_fault_is_noticed(policy: Policy, variant: str, fault: Fault) -> None:
    objects = objects_of(variant)
    fault(objects)
    assert list(policy(objects))


def test_every_rule_is_broken_somewhere() -> None:
    assert set(FAULTS) == set(POLICIES)


def test_two_scalers_of_one_pool_are_noticed() -> None:
    objects = objects_of("components/keda")
    objects += [each for each in objects_of("components/hpa") if each["kind"] == "HorizontalPodAutoscaler"]
    assert len(list(scaling.replicas_are_written_by_one(objects))) == 4
