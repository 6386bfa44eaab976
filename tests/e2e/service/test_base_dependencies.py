import asyncio
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

from tests.e2e.conftest import Checkpoints
from tests.e2e.stack import running_stack

BASE = {"grpcio": "grpc", "protobuf": "google", "googleapis-common-protos": "google"}

CALLER = """
import sys
allowed = set(sys.stdlib_module_names) | {"sensorium", "grpc", "google", "typing_extensions"}

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ImportError(f"{name} is not a base dependency")

sys.meta_path.insert(0, Wall())
import sensorium
with sensorium.Client(sys.argv[1], timeout=600) as client:
    print("".join(client.text.stream_text("Streams", max_new_tokens=8, temperature=0.0, ignore_eos=True)))
"""


def test_the_base_dependencies_are_what_the_caller_below_may_import() -> None:
    base = {line.partition(">")[0] for line in requires("sensorium") or [] if "extra ==" not in line}
    assert base == BASE.keys()


async def test_a_caller_without_torch_calls_the_gateway(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """In a process that refuses to import anything but the standard library and the base dependencies."""
    script = tmp_path / "caller.py"
    script.write_text(CALLER)
    root = Path(__file__).parents[3]
    async with running_stack(checkpoints("llama")) as stack:
        caller = await asyncio.create_subprocess_exec(
            sys.executable,
            script,
            f"127.0.0.1:{stack.gateway.server.port}",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(root)},
        )
        output, errors = await caller.communicate()
    assert caller.returncode == 0, errors.decode()
    assert output.strip()
