import re
import subprocess
import sys
import tomllib
from pathlib import Path

import sensorium
from sensorium import errors

ROOT = Path(__file__).parent.parent

SURFACE = {
    "AsyncClient", "AsyncMessageStream", "AsyncStream", "AsyncTextStream", "BackendLost", "CallOptions", "Cancelled",
    "Client", "DeadlineExceeded", "DeviceOutOfMemory", "GenerationOptions", "Internal", "InvalidArgument",
    "MessageStream", "ModelNotReady", "ModelNotServed", "NoEndpoint", "PermissionDenied", "QueueFull",
    "QuotaExceeded", "Reply", "ResourceExhausted", "Retry", "SensoriumError", "SlowConsumer", "Stream", "TLS",
    "TaskNotSupported", "TextStream", "Unauthenticated", "Unavailable", "Violation", "__version__",
}  # fmt: skip


def test_the_public_surface_is_this_list() -> None:
    assert set(sensorium.__all__) == SURFACE
    assert all(hasattr(sensorium, name) for name in SURFACE)


def test_every_error_is_public() -> None:
    declared = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SensoriumError)
    }
    assert declared <= SURFACE


def test_the_version_is_the_projects() -> None:
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    assert (ROOT / hatch["version"]["path"]).samefile(sensorium.__file__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", sensorium.__version__)


IMPORT_WITH_ONLY = """
import sys
from importlib.abc import MetaPathFinder

class OnlyTheBase(MetaPathFinder):
    allowed = set(sys.stdlib_module_names) | {"sensorium", "grpc", "google", "typing_extensions"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, OnlyTheBase())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", IMPORT_WITH_ONLY + code], capture_output=True, text=True, cwd=ROOT, timeout=600
    )


def test_the_base_dependencies_suffice() -> None:
    done = run("import sensorium; sensorium.Client().close(); import sensorium.status")
    assert done.returncode == 0, done.stderr


def test_the_command_line_names_the_extra_it_lacks() -> None:
    done = run("from sensorium.cli import main; sys.argv = ['sensorium', '--version']; main()")
    assert done.returncode == 1
    assert "pip install 'sensorium[cli]', in a checkout '.[cli]'" in done.stderr
    assert not re.search("Traceback", done.stderr)
