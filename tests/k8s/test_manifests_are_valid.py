import functools
import json

import kubernetes_validate
import pytest

from tests.drawn import drawn
from tests.k8s import custom_resources
from tests.k8s.faults.places import H100, L4, spec
from tests.k8s.manifests import Manifest, find, name_of
from tests.k8s.variants import VARIANTS, objects_of

NEWEST = kubernetes_validate.latest_version()
OLDEST = "1.30"
"""As k8s/README.md promises, but for what says that it needs more."""
NEED_MORE = {"components/gpu-dra", "components/weights-oci-image", "overlays/prod-h100"}
# Megabytes, and read for every object otherwise.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


@functools.cache
def complaint(text: str, version: str = NEWEST) -> str:
    """What an object's definition says of it, unknown fields included; empty where nothing."""
    manifest = json.loads(text)
    if not is_own(manifest):
        return custom_resources.complaint(manifest)
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    return ""


def is_own(manifest: Manifest) -> bool:
    """Whether Kubernetes itself defines the kind: its groups have no dot, or end in .k8s.io."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and group != "gateway.networking.k8s.io")


@pytest.mark.parametrize("variant", drawn([*VARIANTS], 9))
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_as_it_is_defined(variant: str, version: str) -> None:
    # The versions of operators are others.
    objects = [each for each in objects_of(variant) if version == NEWEST or is_own(each)]
    complaints = {name_of(each): complaint(json.dumps(each, sort_keys=True), version) for each in objects}
    assert len(complaints) > 20
    faulty = {what: told for what, told in complaints.items() if told}
    assert bool(faulty) == (version == OLDEST and variant in NEED_MORE), faulty


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_objects_are_the_same(variant: str) -> None:
    names = [name_of(manifest) for manifest in objects_of(variant)]
    assert len(set(names)) == len(names)


def misspelt(objects: list[Manifest], kind: str, name: str, right: str, wrong: str) -> str:
    """What is said of an object of which one word is another."""
    manifest = find(objects, kind, name)
    assert manifest is not None
    text = json.dumps(manifest)
    assert f'"{right}"' in text
    return complaint(text.replace(f'"{right}"', f'"{wrong}"'))


def test_a_misspelt_field_is_found() -> None:
    objects = objects_of(H100)
    assert "prestop" in misspelt(objects, "Deployment", "sensorium-text", "preStop", "prestop")
    assert "maxReplicas" in misspelt(objects, "ScaledObject", "sensorium-text", "maxReplicaCount", "maxReplicas")
    assert "hostname" in misspelt(objects, "GRPCRoute", "sensorium", "hostnames", "hostname")


def test_a_wrong_type_is_found() -> None:
    objects = objects_of(L4)
    spec(objects, "ScaledObject", "sensorium-text")["pollingInterval"] = "soon"
    spec(objects, "Service", "sensorium-text")["ports"][0]["port"] = "grpc"
    assert complaint(json.dumps(find(objects, "ScaledObject", "sensorium-text")))
    assert complaint(json.dumps(find(objects, "Service", "sensorium-text")))
