import shutil
from pathlib import Path

import pytest

from services.engine.native import library

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler on this machine")


@pytest.fixture(autouse=True)
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_it_is_kept_for_the_next_process(tmp_path: Path) -> None:
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


def test_a_cache_that_cannot_be_written_to_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert library.load_library.__wrapped__() is not None
