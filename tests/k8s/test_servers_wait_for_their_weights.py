"""The scripts of the pods that download and that wait, run as they are rendered, on a cache of the hub in a folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.k8s.faults.places import L4, download, server
from tests.k8s.manifests import Manifest, environment
from tests.k8s.rendering import ROOT
from tests.k8s.variants import objects_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def script(container: Manifest, cache: Path, **variables: str) -> "Generator[subprocess.Popen[str]]":
    """Runs what a container runs; the mount is the folder."""
    own = {name: value for name, value in environment(objects_of(L4), container).items() if value == "/weights"}
    own = dict.fromkeys(own, str(cache)) | {"HF_HOME": str(cache / "home"), "HF_HUB_OFFLINE": "1"} | variables
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {"PATH": programs, **own}
    running = subprocess.Popen(
        container["args"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with running:
        try:
            yield running
        finally:
            running.kill()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that has one model, as the hub is not reached here: the download finds everything there."""
    snapshot = tmp_path / "models--acme--chat" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    shutil.copy(ROOT / "models/chat/config.json", snapshot)
    return tmp_path


def test_a_server_waits_until_its_model_is_there_in_full(cache: Path) -> None:
    objects = objects_of(L4)
    (waiting,) = server(objects).pod["initContainers"]
    told = {"SENSORIUM_MODEL": "acme/chat", "SENSORIUM_REVISION": COMMIT}
    with script(waiting, cache, **told) as waits:
        with script(download(objects).main, cache, **told | {"SENSORIUM_REVISION": COMMIT[::-1]}) as fails:
            assert fails.wait(60) != 0
        assert [*cache.glob("*.complete")] == []
        assert waits.poll() is None
        with script(download(objects).main, cache, **told) as done:
            assert done.wait(60) == 0, done.stdout and done.stdout.read()
        assert waits.wait(20) == 0
