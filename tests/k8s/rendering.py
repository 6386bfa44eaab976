"""Kustomizations as kubectl renders them, each once as long as no file of `k8s` changes."""

import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
K8S = ROOT / "k8s"
POOLS = ("text", "vision", "speech", "multimodal")
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))

_FRAME = ("base/namespace", "base/gateway", *(f"services/{pool}" for pool in POOLS))
_KUBECTL = Path(sys.executable).parent / "kubectl"
"""The wheel's own, whose version is pinned: another one may order and quote otherwise."""
_KEPT = ROOT / ".pytest_cache/rendered"
"""For other processes and later runs: half a second each, of some twenty that many tests read."""
# What a model server does not start without; a component that brings its own is rendered without these.
_NEEDED = {"gpu-": "gpu-device-plugin", "weights-": "weights-pvc"}


@functools.cache
def overlay(name: str) -> str:
    """Returns what an overlay renders to."""
    return _kept(name, lambda: _kustomize(K8S / "overlays" / name))


@functools.cache
def component(name: str) -> str:
    """Returns what the smallest overlay renders to that has a component."""
    needed = {one for kind, one in _NEEDED.items() if not name.startswith(kind)}
    return composed(sorted(needed | {name}))


def composed(components: Sequence[str], more: Mapping[str, Any] | None = None) -> str:
    """Returns what an overlay of these components renders to, with more said in its kustomization."""
    return _kept(json.dumps([components, more]), lambda: _composed(components, more or {}))


def _composed(components: Sequence[str], more: Mapping[str, Any]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "sensorium",
            # Kustomize takes no absolute paths.
            "resources": [os.path.relpath(K8S / path, folder) for path in _FRAME],
            "components": [os.path.relpath(K8S / "components" / name, folder) for name in components],
            "images": [{"name": f"sensorium-{name}", "newTag": "0.0.0"} for name in ("gateway", "services")],
            **more,
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return _kustomize(Path(folder))


def _kept(what: str, render: Callable[[], str]) -> str:
    """Returns what `render` returns, or returned in any process of the same files."""
    with (_folder() / hashlib.sha256(what.encode()).hexdigest()).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the first renders, and others wait for it
        file.seek(0)
        text = file.read()
        if not text:
            text = render()
            file.write(text)
        return text


@functools.cache
def _folder() -> Path:
    """Returns the folder of what was rendered of the files as they are, and removes the others."""
    folder = _KEPT / _state()
    _KEPT.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_KEPT, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for stale in {*_KEPT.iterdir()} - {folder}:
            shutil.rmtree(stale, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    finally:
        os.close(descriptor)
    return folder


def _state() -> str:
    """Returns a digest of all that a rendering depends on."""
    kubectl, own = _KUBECTL.stat(), Path(__file__).read_bytes()
    digest = hashlib.sha256(f"{kubectl.st_size} {kubectl.st_mtime_ns}".encode() + own)
    for path in sorted(path for path in K8S.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{path}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _kustomize(folder: Path) -> str:
    environment = os.environ | {"GOGC": "400"}  # it collects garbage for a third of its time otherwise
    command = [_KUBECTL, "kustomize", folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
