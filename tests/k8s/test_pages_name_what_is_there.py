import re

import pytest
import yaml

from tests.k8s.manifests import strings
from tests.k8s.policies import POLICIES
from tests.k8s.rendering import COMPONENTS, K8S, ROOT, composed
from tests.k8s.variants import VARIANTS, objects_of, parsed

PAGES = ["k8s/README.md", "docs/deployment.md", "docs/operation.md"]


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_is_explained(name: str) -> None:
    assert f"`{name}`" in (K8S / "README.md").read_text()


@pytest.mark.parametrize("page", [page for page in PAGES if (ROOT / page).exists()])
def test_paths_in_pages_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    for path in set(re.findall(r"(?:k8s|docs|tests|images)/[\w./*-]*\w", text)) - {"k8s/overlays/mine"}:
        assert [*ROOT.glob(path)] or [*ROOT.glob(f"{path}/*")], path


def test_names_in_the_page_are_those_of_objects() -> None:
    text = (ROOT / "docs/deployment.md").read_text()
    told = set(re.findall(r"(?<![/\w-])sensorium-[a-z]+(?:-[a-z]+)*", text)) - {
        "sensorium-services",
        "sensorium-weights-text",
    }
    known = {each for variant in VARIANTS for each in strings(objects_of(variant))}
    keys = {key for variant in VARIANTS for each in objects_of(variant) for key in _keys(each)}
    assert told
    assert told <= known | keys


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for each in value.values() for key in _keys(each)}
    return {key for each in value for key in _keys(each)} if isinstance(value, list) else set()


def test_a_pool_is_left_out_as_the_page_says() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (K8S / "README.md").read_text(), re.DOTALL)
    components = ["gpu-device-plugin", "weights-pvc", "keda", "tls-certmanager"]
    objects = parsed(composed(components, yaml.safe_load(block)))
    assert not any("sensorium-vision" in text for text in strings(objects))
    faults = {policy.__name__: list(policy(objects)) for policy in POLICIES}
    assert {rule: told for rule, told in faults.items() if told} == {}
