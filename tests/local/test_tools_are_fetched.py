import shutil
import subprocess
from pathlib import Path

import pytest

from local.tools import ToolMissing, tool

SCRIPT = Path(__file__).parent.parent.parent / "local/tools.sh"


def fetch(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments], env={"PATH": str(path)}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH of a machine without apt."""
    for name in ("sh", "dirname"):
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    return tmp_path


def test_nothing_is_fetched_if_everything_is_installed(bare: Path) -> None:
    done = fetch("prometheus", "prometheus", "promtool", path=bare)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_machine_without_apt_is_told_what_to_install(bare: Path) -> None:
    done = fetch("frobnicator", "frobnicate", path=bare)
    assert done.returncode == 1
    assert "install frobnicator so that they are on the PATH" in done.stderr
    assert "frobnicate" in done.stderr


def test_a_missing_program_is_a_sentence() -> None:
    with pytest.raises(ToolMissing, match="run `make tools`"):
        tool("frobnicate")
