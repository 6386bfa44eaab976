"""What the Dockerfiles and the manifests say of the same things."""

import re

import pytest
import yaml

from gateway.config import GatewaySettings
from sensorium.rpc import ServerSettings
from sensorium.rpc.configuration import variable
from services.multimodal.config import MultimodalSettings
from services.speech.config import SpeechSettings
from services.text.config import TextSettings
from services.vision.config import VisionSettings
from tests.e2e.processes import ROOT

MODELS = (TextSettings, VisionSettings, SpeechSettings, MultimodalSettings)
SETTINGS: dict[str, tuple[type[ServerSettings], ...]] = {"gateway": (GatewaySettings,), "services": MODELS}
images = pytest.mark.parametrize("name", SETTINGS)


def dockerfile(name: str) -> str:
    """Returns it with continued lines joined."""
    return (ROOT / f"images/{name}/Dockerfile").read_text().replace("\\\n", " ")


def words(name: str, instruction: str) -> list[str]:
    """Returns what an instruction is given, wherever it stands."""
    return " ".join(re.findall(rf"^{instruction} (.*)$", dockerfile(name), re.MULTILINE)).split()


def variables(name: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in words(name, "ENV"))


def containers(name: str) -> list[tuple[dict, dict]]:
    """Returns (pod, container) of everything that production runs from an image."""
    documents = yaml.safe_load_all((ROOT / "tests/k8s/snapshots/prod-l4.yaml").read_text())
    pods = [document["spec"]["template"]["spec"] for document in documents if document["kind"] in ("Deployment", "Job")]
    every = [(pod, one) for pod in pods for one in (*pod["containers"], *pod.get("initContainers", ()))]
    found = [(pod, one) for pod, one in every if f"/sensorium-{name}:" in one["image"]]
    assert found
    return found


@images
def test_the_user_is_the_same_number(name: str) -> None:
    (both,) = words(name, "USER")
    user, _, group = both.partition(":")
    assert user == group
    for pod, _ in containers(name):
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == int(user) != 0


@images
def test_tini_stays_the_first_process(name: str) -> None:
    assert words(name, "ENTRYPOINT") == ['["tini",', '"--"]']
    assert all("command" not in container for _, container in containers(name))


@images
def test_ports_are_those_that_the_servers_listen_on(name: str) -> None:
    exposed = set(map(int, words(name, "EXPOSE")))
    fields = [kind.model_fields[port] for kind in SETTINGS[name] for port in ("port", "metrics_port")]
    assert exposed == {field.default for field in fields}


@images
def test_variables_are_settings(name: str) -> None:
    own = {each for each in variables(name) if each.startswith("SENSORIUM_")}
    assert own and own <= {variable(field) for kind in SETTINGS[name] for field in kind.model_fields}


def test_what_the_services_write_to_is_mounted_and_no_folder_else() -> None:
    cache = variables("services")["XDG_CACHE_HOME"]
    assert all(variables("services")[each].startswith(f"{cache}/") for each in ("HF_HOME", "TRITON_CACHE_DIR"))
    for pod, container in containers("services"):
        assert container["securityContext"]["readOnlyRootFilesystem"]
        if container in pod["containers"]:
            assert {cache, "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}


@images
def test_no_compiler_and_no_installer_is_left_in_it(name: str) -> None:
    *_, last = re.split(r"^FROM ", dockerfile(name), flags=re.MULTILINE)
    stages = re.findall(r"^FROM (.*?)\n(.*?)(?=^FROM |\Z)", dockerfile(name), re.MULTILINE | re.DOTALL)
    for source, steps in stages:
        if "AS build" not in source and "runtime-cuda" not in source:
            assert not re.search(r"\b(gcc|python3-pip|libc6-dev)\b", steps), source
    assert "--from=build" in last
