"""Kustomizations as kubectl renders them, each once a run."""

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
K8S = ROOT / "k8s"
POOLS = ("text", "vision", "speech", "multimodal")
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))

_FRAME = ("base/namespace", "base/gateway", *(f"services/{pool}" for pool in POOLS))
# What a model server does not start without; a component that brings its own is rendered without these.
_NEEDED = {"gpu-": "gpu-device-plugin", "weights-": "weights-pvc"}


@functools.cache
def overlay(name: str) -> str:
    """Returns what an overlay renders to."""
    return _kustomize(K8S / "overlays" / name)


@functools.cache
def component(name: str) -> str:
    """Returns what the smallest overlay renders to that has a component."""
    needed = {one for kind, one in _NEEDED.items() if not name.startswith(kind)}
    return composed(sorted(needed | {name}))


def composed(components: Sequence[str], more: Mapping[str, Any] | None = None) -> str:
    """Returns what an overlay of these components renders to, with more said in its kustomization."""
    with tempfile.TemporaryDirectory() as folder:
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "sensorium",
            # Kustomize takes no absolute paths.
            "resources": [os.path.relpath(K8S / path, folder) for path in _FRAME],
            "components": [os.path.relpath(K8S / "components" / name, folder) for name in components],
            "images": [{"name": f"sensorium-{name}", "newTag": "0.0.0"} for name in ("gateway", "services")],
            **(more or {}),
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return _kustomize(Path(folder))


def _kustomize(folder: Path) -> str:
    # The wheel's own, whose version is pinned: another one may order and quote otherwise.
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
