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


def test_a_flag_has_no_type_and_an_option_has(invoke: Invoke) -> None:
    shown = invoke("text", "generate", "--help").stdout
    assert "<bool>" not in shown
    assert "<float>" in shown
