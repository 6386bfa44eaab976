"""What the images install, by version, against what pyproject.toml asks for. `make image-locks` writes it anew."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.e2e.processes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGES = ROOT / "images"
FILES = {
    "gateway/requirements.txt": "gateway",
    "services/requirements-cpu.txt": "engine",
    "services/requirements-cuda.txt": "engine",
}
# Of the images' platform, whatever this test runs on.
PLATFORM = {"sys_platform": "linux", "platform_system": "Linux", "python_version": "3.11"}


def installed(file: str) -> dict[str, Version]:
    lines = [line for line in (IMAGES / file).read_text().splitlines() if not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    assert all(len(pair) == 2 for pair in pairs), file
    return {name: Version(version) for name, version in pairs}


def declared(extra: str) -> list[Requirement]:
    found = [Requirement(line) for line in PROJECT["optional-dependencies"][extra]]
    nested = [need for one in found if one.name == PROJECT["name"] for inner in one.extras for need in declared(inner)]
    return [one for one in found if one.name != PROJECT["name"]] + nested


@pytest.mark.parametrize(("file", "extra"), FILES.items())
def test_every_requirement_is_met(file: str, extra: str) -> None:
    has = installed(file)
    for need in [*map(Requirement, PROJECT["dependencies"]), *declared(extra), *declared("tracing")]:
        if need.marker is None or need.marker.evaluate(PLATFORM):
            assert canonicalize_name(need.name) in has, need
            assert has[canonicalize_name(need.name)] in need.specifier, need


def test_the_gateway_has_nothing_of_the_model_side() -> None:
    only_models = {canonicalize_name(need.name) for need in declared("engine")} - {
        canonicalize_name(need.name) for need in declared("gateway")
    }
    assert only_models.isdisjoint(installed("gateway/requirements.txt"))


def test_all_have_the_same_versions_and_torch_is_the_one_that_is_tested() -> None:
    gateway, cpu, cuda = map(installed, FILES)
    assert all(gateway[name] == cpu[name] == cuda[name] for name in gateway.keys() & cpu.keys())
    assert cpu.items() <= cuda.items()
    (torch,) = (Requirement(line) for line in PROJECT["optional-dependencies"]["dev"] if line.startswith("torch=="))
    assert cpu["torch"] in torch.specifier
    assert "triton" in cuda and not any(name.startswith("nvidia-") for name in cpu)


def test_only_what_an_image_is_made_of_reaches_the_build() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for dockerfile in IMAGES.glob("*/Dockerfile"):
        for line in dockerfile.read_text().splitlines():
            if line.startswith("COPY ") and "--from" not in line:
                source = line.split()[1].replace("${ACCELERATOR}", "cpu")
                assert any(Path(source).match(pattern) for pattern in (*allowed, "models/README.md")), line
