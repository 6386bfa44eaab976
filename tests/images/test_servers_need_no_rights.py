"""Gateway and services as a restricted pod runs them: a number for a user, no home, no capabilities, and nothing to
write to but `/tmp` and the cache's folder. `make images-check` does the same with the images themselves.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.fleet import MODELS
from sensorium import AsyncClient
from sensorium.v1.common_pb2 import GenerationParameters
from sensorium.v1.text_pb2 import GenerateRequest
from tests.e2e.processes import ROOT, server
from tests.waiting import PATIENCE, until

USER = 23456
"""Nobody's number."""
CONFINED = str(ROOT / "images/confined.sh")
SHARED = [*("/usr", "/bin", "/lib", "/lib64", "/etc"), sys.base_prefix, sys.prefix, str(ROOT)]
ENVIRONMENT = [
    "XDG_CACHE_HOME=/cache",
    "HF_HUB_OFFLINE=1",
    "OMP_NUM_THREADS=1",
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "PYTHONUNBUFFERED=1",
    f"CC={Path(__file__).with_name('hasty_cc.sh')}",
]


@pytest.fixture(scope="module")
def confined(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What runs a command confined; skips where this machine does not let us."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a root file system that is read-only")
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("util-linux is not installed")
    refused = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    if refused.returncode:
        pytest.skip(f"no mount namespaces here: {refused.stderr.strip()}")
    root = tmp_path_factory.mktemp("root")
    root.chmod(0o755)
    shared = " ".join(dict.fromkeys(folder for folder in SHARED if Path(folder).exists()))
    return ["env", f"SHARED={shared}", CONFINED, str(root), str(USER), "env", "-i", "-C", str(ROOT), *ENVIRONMENT]


def test_nothing_can_be_written_but_what_is_meant_to(confined: list[str]) -> None:
    tried = ["/here", "/usr/here", "/etc/here", str(ROOT / "here"), "/tmp/here", "/cache/here"]
    script = 'for path; do touch "$path" 2>/dev/null && echo "$path"; done; id -u; id -G; grep CapEff /proc/self/status'
    done = subprocess.run([*confined, "sh", "-c", script, "-", *tried], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["/tmp/here", "/cache/here", str(USER), str(USER), "CapEff:", "0" * 16]


def users(process: int) -> set[str]:
    """Returns the numbers that a process goes by: real, effective, saved, and for files."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return set(next(line for line in lines if line.startswith("Uid:")).split()[1:])


async def test_a_call_is_answered(confined: list[str], tmp_path: Path) -> None:
    asked = GenerateRequest(prompt="Once", parameters=GenerationParameters(max_new_tokens=4, ignore_eos=True))
    quick = ("--drain-delay-seconds", "0")
    text = ("--model", str(MODELS / "chat"), "--device", "cpu", *quick)
    async with server(tmp_path / "text.log", "services.text", *text, within=confined) as service:
        assert "cannot be compiled" not in service.log
        routes = ("--static", service.address, *quick)
        async with server(tmp_path / "gateway.log", "gateway", *routes, within=confined) as gateway:
            async with AsyncClient(gateway.address) as client:
                answer = await client.text.generate(asked, timeout=PATIENCE)
            assert answer.usage.output_token_count == 4
            for process in (gateway.process, service.process):
                assert users(process.pid) == {str(USER)}
                process.send_signal(signal.SIGTERM)
                await until(lambda process=process: process.poll() is not None)
                assert process.returncode == 0
