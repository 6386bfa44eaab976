import pytest

from tests.k8s.policies import POLICIES
from tests.k8s.variants import VARIANTS, objects_of


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_applied_keeps_every_rule(variant: str) -> None:
    objects = objects_of(variant)
    faults = {policy.__name__: list(policy(objects)) for policy in POLICIES}
    assert {rule: told for rule, told in faults.items() if told} == {}
