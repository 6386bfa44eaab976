"""Kustomizations as kubectl renders them, each once a run."""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
"""One object, as kubectl would send it."""

ROOT = Path(__file__).parent.parent.parent
K8S = ROOT / "k8s"
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))

# With GPUs, which most components have to do with.
_FRAME = (
    "base/namespace",
    "base/gateway",
    *(f"services/{pool}" for pool in ("text", "vision", "speech", "multimodal")),
)
_GPU = "gpu-device-plugin"


def overlay(name: str) -> list[Manifest]:
    """Returns the objects of an overlay."""
    return list(yaml.safe_load_all(rendered(f"overlays/{name}")))


def component(name: str) -> list[Manifest]:
    """Returns the objects of the smallest overlay that has a component, and a GPU to each model server."""
    return list(yaml.safe_load_all(_with_components(*sorted({_GPU, name} if not name.startswith("gpu-") else {name}))))


@functools.cache
def rendered(folder: str) -> str:
    """Returns what `kubectl kustomize` makes of a folder of k8s/."""
    return _kustomize(K8S / folder)


@functools.cache
def _with_components(*names: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "sensorium",
            # Kustomize takes no absolute paths.
            "resources": [os.path.relpath(K8S / path, folder) for path in _FRAME],
            "components": [os.path.relpath(K8S / "components" / name, folder) for name in names],
            "images": [{"name": f"sensorium-{name}", "newTag": "0.0.0"} for name in ("gateway", "services")],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return _kustomize(Path(folder))


def _kustomize(folder: Path) -> str:
    # The wheel's own, whose version is pinned: another one may order and quote otherwise.
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
