import pytest

from tests.cli.conftest import Invoke


@pytest.mark.parametrize("command", [("text", "generate"), ("speech", "stream-transcribe")])
def test_a_narrow_terminal_shows_every_name_whole(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: tuple[str, str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = invoke(*command, "--help")
    assert done.exit_code == 0
    assert "--" in done.stdout
    assert "…" not in done.stdout
