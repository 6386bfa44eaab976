import functools
import json

import kubernetes_validate
import pytest

from tests.k8s.rendering import Manifest
from tests.k8s.variants import VARIANTS, objects_of

NEWEST = kubernetes_validate.latest_version()


@functools.cache
def complaint(text: str) -> str:
    """What Kubernetes' own schema says of an object, unknown fields included; empty where nothing."""
    try:
        kubernetes_validate.validate(json.loads(text), NEWEST, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return ""


def is_own(manifest: Manifest) -> bool:
    """Whether Kubernetes itself defines the kind: its groups have no dot, or end in .k8s.io."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and group != "gateway.networking.k8s.io")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_as_kubernetes_defines_it(variant: str) -> None:
    own = [manifest for manifest in objects_of(variant) if is_own(manifest)]
    assert len(own) > 20
    complaints = {name(manifest): complaint(json.dumps(manifest, sort_keys=True)) for manifest in own}
    assert {what: told for what, told in complaints.items() if told} == {}


def name(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_objects_are_the_same(variant: str) -> None:
    names = [name(manifest) for manifest in objects_of(variant)]
    assert len(set(names)) == len(names)


def test_a_misspelt_field_is_found() -> None:
    (deployment, *_) = (manifest for manifest in objects_of(VARIANTS[0]) if manifest["kind"] == "Deployment")
    lifecycle = deployment["spec"]["template"]["spec"]["containers"][0]["lifecycle"]
    lifecycle["prestop"] = lifecycle.pop("preStop")
    assert "prestop" in complaint(json.dumps(deployment))
