"""What runs in the containers: modules, their settings, and whether these can be read."""

import contextlib
import functools
import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from gateway.config import GatewaySettings
from sensorium.rpc.configuration import load
from sensorium.rpc.settings import ServerSettings
from services.multimodal.config import MultimodalSettings
from services.speech.config import SpeechSettings
from services.text.config import TextSettings
from services.vision.config import VisionSettings
from tests.certificates import certificate
from tests.k8s.manifests import Manifest

SETTINGS: dict[str, type[ServerSettings]] = {
    "gateway": GatewaySettings,
    "services.text": TextSettings,
    "services.vision": VisionSettings,
    "services.speech": SpeechSettings,
    "services.multimodal": MultimodalSettings,
}


def module_of(container: Manifest) -> str:
    """Returns the module that a container runs; empty where it is none of this project's."""
    match container.get("args", []):
        case ["python", "-m", module, *_]:
            return str(module)
    return ""


_FOLDER = tempfile.TemporaryDirectory(prefix="sensorium-certificate-")


@functools.cache
def _pair() -> tuple[Path, Path]:
    return certificate(Path(_FOLDER.name))


def settings_of(container: Manifest, variables: Mapping[str, str]) -> ServerSettings | str:
    """Returns the settings that the process would have, or what it would say before it exits.

    Files, which are mounted in the pod only, are taken as there: all are certificates and keys.
    """
    certificate_file, key = _pair()
    files = {name: key if name.endswith("_KEY_FILE") else certificate_file for name in variables if "_FILE" in name}
    there = {**variables, **{name: str(file) for name, file in files.items()}}
    said = io.StringIO()
    module = module_of(container)
    with mock.patch.dict(os.environ, there, clear=True), contextlib.redirect_stderr(said):
        try:
            return load(SETTINGS[module], module, container["args"][3:])
        except SystemExit:
            return said.getvalue()
