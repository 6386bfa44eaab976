"""Checks the import rules ("walls") of docs/architecture.md by parsing the sources, without importing them."""

import ast
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
TORCH = {"torch", "transformers", "accelerate", "bitsandbytes", "tokenizers", "safetensors"}
WIRE = {"grpc", "google", "sensorium.v1", "sensorium.rpc", "sensorium.status", "sensorium.client"}
HOUSES = {"services", "gateway", "local", "tests", "benchmarks", "models", "k8s", "protos"}
SERVER = {"prometheus_client", "pydantic", "pydantic_settings", "uvloop", "grpc_health", "grpc_reflection"}
TERMINAL = {"typer", "rich", "click"}

SERVICES = tuple(f"services/{name}" for name in ("generation", "media", "multimodal", "text", "vision", "speech"))

# Only servicers and their conversions may import wire types (protobuf, gRPC); only verbs and the engine import torch.
EDGE = ("/servicer.py", "_servicer.py", "/conversion.py", "_conversion.py", "/ask.py", "_ask.py")
WIRING = (
    "__init__.py",
    "__main__.py",
    "app.py",
    "config.py",
    "settings.py",
    "engine_facts.py",
    "generative_model.py",
    "encoder_model.py",
    "encoder_tasks.py",
    "follower.py",
    "vision_model.py",
    "finding_model.py",
    "speech_model.py",
    "speaking_model.py",
    "following_service.py",
    "writing_service.py",
    "reading_model.py",
    "chat_model.py",
    "generating_model.py",
    "writing_model.py",
)


@cache
def imports(path: Path) -> set[str]:
    """Returns the full names of all modules and members that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def crossings(path: Path, forbidden: set[str]) -> set[str]:
    return {found for found in imports(path) for wall in forbidden if found == wall or found.startswith(f"{wall}.")}


def python_files(*folders: str) -> list[Path]:
    return sorted(
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if "v1" not in path.relative_to(ROOT).parts
    )


def crossed(
    files: Iterable[Path], forbidden: Callable[[Path], set[str]], *, through: bool = False
) -> dict[str, set[str]]:
    """Returns, for each file that crosses a wall, what it imports there. `through`: also by way of other files."""
    loaded = {path: reachable(path) if through else {path} for path in files}
    found = {
        str(path.relative_to(ROOT)): {
            f"{each.relative_to(ROOT)}: {name}" for each in reached for name in crossings(each, forbidden(path))
        }
        for path, reached in loaded.items()
    }
    return {path: names for path, names in found.items() if names}


def reachable(path: Path, seen: set[Path] | None = None) -> set[Path]:
    """Returns the files of this repository that importing `path` loads, directly or indirectly."""
    seen = set() if seen is None else seen
    if path in seen:
        return seen
    seen.add(path)
    for imported in imports(path):
        target = ROOT / Path(*imported.split("."))
        for found in (target.with_suffix(".py"), target / "__init__.py"):
            if found.exists():
                reachable(found, seen)
    return seen


def test_the_wheel_imports_no_house_and_no_torch() -> None:
    def forbidden(path: Path) -> set[str]:
        server = (
            set[str]()
            if "rpc" in path.parts
            else SERVER - ({"prometheus_client"} if "cli" in path.parts else set[str]())
        )
        return HOUSES | TORCH | server | (set[str]() if "cli" in path.parts else TERMINAL)

    assert not crossed(python_files("sensorium"), forbidden)


def test_the_gateway_knows_no_service_and_no_torch() -> None:
    assert not crossed(python_files("gateway"), lambda _: (HOUSES - {"gateway"}) | TORCH)


def test_one_module_knows_how_traces_are_made() -> None:
    """OpenTelemetry loads only when tracing is on: one module imports it, and call records do not depend on it."""
    files = python_files("sensorium", "services", "gateway", "local")
    telemetry = ROOT / "sensorium/rpc/telemetry.py"
    assert [path for path in files if crossings(path, {"opentelemetry"})] == [telemetry]
    imported = {path for path in files if crossings(path, {"sensorium.rpc.telemetry"})}
    assert imported == {ROOT / "sensorium/rpc/tracing.py"}
    assert not crossings(ROOT / "sensorium/call_record.py", WIRE)


def test_the_engine_never_sees_the_wire() -> None:
    assert not crossed(python_files("services/engine"), lambda _: WIRE | (HOUSES - {"services"}))


def test_media_are_read_without_torch() -> None:
    assert not crossed(python_files("services/engine/media"), lambda _: TORCH, through=True)


def test_a_verb_never_sees_the_wire() -> None:
    files = [path for path in python_files(*SERVICES) if not str(path).endswith(EDGE) and path.name not in WIRING]
    assert not crossed(files, lambda _: WIRE)


def test_a_servicer_loads_no_torch() -> None:
    """Neither directly nor through any module of this repository that it imports."""
    files = [path for path in python_files(*SERVICES) if str(path).endswith(EDGE)]
    assert not crossed(files, lambda _: TORCH, through=True)


def test_the_walls_are_where_the_files_are() -> None:
    """The other tests would pass on empty folders, so this one checks that they see the real files."""
    assert {path.name for path in python_files("services/text")} >= {"servicer.py", "summarize.py", "app.py"}
    assert {path.name for path in python_files("services/generation")} >= {"ask.py", "generator.py"}
    assert {path.name for path in python_files("services/vision")} >= {"servicer.py", "classify_image.py", "app.py"}
    assert {path.name for path in python_files("services/speech")} >= {"servicer.py", "classify_audio.py", "app.py"}
    assert len(python_files("services/engine")) > 10
    assert len(python_files("gateway")) > 5
    assert crossings(ROOT / "services/engine/generation/sampling/sampler.py", TORCH)


def test_a_file_has_a_name_and_a_size_one_can_read() -> None:
    files = python_files("sensorium", "services", "gateway", "local", "protos", "k8s")
    nameless = {"utils", "util", "helpers", "common", "misc", "base"}
    assert [path for path in files if path.stem in nameless] == []
    assert {path: lines for path in files if (lines := len(path.read_text().splitlines())) > 300} == {}
