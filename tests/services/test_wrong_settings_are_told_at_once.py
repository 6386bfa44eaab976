import subprocess
import sys
from pathlib import Path

_EACH = """
import importlib, sys
for service in ("text", "vision", "speech", "multimodal"):
    try:
        importlib.import_module(f"services.{service}.__main__").main(["--prot", "50051", "--device", "gpu"])
    except SystemExit as ended:
        assert ended.code == 2, ended.code
assert "torch" not in sys.modules
"""


def test_no_service_imports_torch_before_its_settings_are_right() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _EACH], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("--prot: there is no such flag; did you mean --port?") == 4
    assert done.stderr.count("--device gpu: is not auto, cpu, cuda or cuda:N.") == 4
