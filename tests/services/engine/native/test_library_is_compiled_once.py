import shlex
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from services.engine.native import library
from tests.waiting import until

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler on this machine")


@pytest.fixture(autouse=True)
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def compiled() -> Path:
    """The library as this machine has it, which a compiler is spared to make once more."""
    return library._prebuilt() or library._compiled()


def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Replaces the compiler by a shell script, which has to write `$target`."""
    path = tmp_path / "compiler"
    path.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done; target=$2\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))


def test_it_is_kept_for_the_next_process(compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(tmp_path, monkeypatch, f'cp {shlex.quote(str(compiled))} "$target"')
    assert library.load_library.__wrapped__() is not None
    (kept,) = (tmp_path / "sensorium").iterdir()
    written = kept.stat().st_mtime_ns
    assert library.load_library.__wrapped__() is not None
    assert kept.stat().st_mtime_ns == written


def test_without_a_compiler_there_is_none_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert library.load_library.__wrapped__() is None
    assert "There is no compiler `no-such-compiler`: install one" in caplog.text


def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    assert library.load_library.__wrapped__() is None
    assert not list((tmp_path / "sensorium").iterdir())


def test_a_missing_file_is_not_taken_for_a_missing_compiler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere() -> Path:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setenv("CC", "")  # as not set
    monkeypatch.setattr(library, "_folder", nowhere)
    assert library.load_library.__wrapped__() is None
    assert "slower. [Errno 2] No usable temporary directory found" in caplog.text


def test_a_cache_that_cannot_be_written_to_is_replaced(
    compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiler(tmp_path, monkeypatch, f'cp {shlex.quote(str(compiled))} "$target"')
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert library.load_library.__wrapped__() is not None
    assert (
        f"compiled anew at each start, as [Errno 20] Not a directory: '{blocked}/sensorium'. XDG_CACHE" in caplog.text
    )


def test_of_processes_that_start_together_one_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    compiler(tmp_path, monkeypatch, f'echo run >> {runs}; sleep 0.3; echo made > "$target"')
    with ThreadPoolExecutor(4) as together:
        found = {task.result() for task in [together.submit(library._compiled) for _ in range(4)]}
    assert [path.read_text() for path in found] == ["made\n"]
    assert runs.read_text() == "run\n"


async def test_a_compiler_that_takes_too_long_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A C compiler is a driver that starts another process for the work."""
    started = tmp_path / "started"
    compiler(tmp_path, monkeypatch, f"sleep 900 & echo $! > {started}.new; mv {started}.new {started}; wait")
    communicate = subprocess.Popen.communicate

    def late(process: "subprocess.Popen[bytes]", **named: Any) -> Any:
        while not started.exists():  # however long the shell takes to begin
            time.sleep(0.01)
        return communicate(process, **named)

    monkeypatch.setattr(subprocess.Popen, "communicate", late)
    monkeypatch.setattr(library, "_COMPILE_SECONDS", 0.1)
    assert library.load_library.__wrapped__() is None
    assert "timed out" in caplog.text
    await until(lambda: not _runs(int(started.read_text())))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
