import os
import re
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from sensorium import rpc
from sensorium.rpc.unread_variables import OTHERS, unread_variables
from tests.certificates import certificate


class Settings(rpc.ServerSettings):
    """Serves things."""

    model: str = Field(description="Name of the model.")
    sizes: rpc.CommaSeparated = Field((), description="Sizes, 100% of them.")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SENSORIUM_{name.upper()}", raising=False)


def _problems(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        rpc.load(Settings, "serve", arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_flags_win_over_the_environment_and_that_over_defaults(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SENSORIUM_MODEL", "from-environment")
    monkeypatch.setenv("SENSORIUM_DRAIN_DELAY_SECONDS", "7")
    monkeypatch.setenv("SENSORIUM_METRICS_PORT", "1")
    monkeypatch.setenv("SENSORIUM_LOG_FORMAT", "")
    settings = rpc.load(Settings, "serve", ["--metrics-port", "2", "--sizes", "a, b,", "--reflection"])
    assert (settings.model, settings.drain_delay_seconds, settings.metrics_port) == ("from-environment", 7, 2)
    assert (settings.sizes, settings.reflection, settings.log_format) == (("a", "b"), True, "line")
    assert settings.host == "127.0.0.1"
    assert settings.message_bytes == 32 * 1024 * 1024


def test_settings_do_not_change():
    settings = rpc.load(Settings, "serve", ["--model", "m"])
    with pytest.raises(ValidationError):
        settings.port = 1


def test_all_problems_are_said_at_once_each_with_key_and_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SENSORIUM_MESSAGE_BYTES", "many")
    told = _problems(capsys, "--port", "70000", "--nonsense", "--log-level", "loud", "--tls-key-file", "/nowhere")
    for part in (
        "SENSORIUM_MESSAGE_BYTES=many: ",
        "--port 70000: ",
        "--nonsense: there is no such flag",
        "--log-level loud: ",
        "--tls-key-file /nowhere: ",
        "--model (or SENSORIUM_MODEL) is required. Name of the model.",
    ):
        assert part in told
    assert "Traceback" not in told


def test_the_address_of_a_kubernetes_service_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SENSORIUM_PORT", "tcp://10.0.0.1:50051")
    told = _problems(capsys, "--model", "m")
    assert "SENSORIUM_PORT=tcp://10.0.0.1:50051: " in told
    assert "enableServiceLinks: false" in told


def test_variables_that_are_no_settings_are_told_with_the_nearest_that_is(monkeypatch: pytest.MonkeyPatch):
    for name in [each for each in os.environ if each.startswith("SENSORIUM_")]:
        monkeypatch.delenv(name)
    for name in ("MODELL", "metrics_prot", "Log_Level", "QUEUE_BYTES", "TOKEN", "MODEL"):
        monkeypatch.setenv(f"SENSORIUM_{name}", "s3cret")
    monkeypatch.setenv("SENSORIUM_NAMES", "")
    text = "SENSORIUM_TEXT"
    for name in (f"{text}_SERVICE_HOST", f"{text}_SERVICE_PORT_GRPC", f"{text}_PORT", f"{text}_PORT_50051_TCP_ADDR"):
        monkeypatch.setenv(name, "10.0.0.1")
    said = "has no effect: this program has no such setting;"
    assert unread_variables(Settings.model_fields) == [
        f"SENSORIUM_METRICS_PROT {said} did you mean SENSORIUM_METRICS_PORT?",
        f"SENSORIUM_MODELL {said} did you mean SENSORIUM_MODEL?",
        f"SENSORIUM_QUEUE_BYTES {said} --help lists the settings.",
    ]


def test_variables_of_the_command_line_are_left_out():
    sources = (Path(rpc.__file__).parents[1] / "cli").rglob("*.py")
    named = {name for source in sources for name in re.findall(r'envvar="SENSORIUM_(\w+)"', source.read_text())}
    assert named | {"TESTS"} == OTHERS


def test_what_is_missing_may_be_there_misspelt(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SENSORIUM_MODELL", "m")
    told = _problems(capsys)
    assert "--model (or SENSORIUM_MODEL) is required" in told
    assert "SENSORIUM_MODELL has no effect" in told


def test_a_flag_without_its_value_is_a_sentence(capsys: pytest.CaptureFixture[str]):
    assert "--model" in _problems(capsys, "--model")


def test_flags_are_not_abbreviated(capsys: pytest.CaptureFixture[str]):
    assert "--mod: there is no such flag" in _problems(capsys, "--mod", "m")


def test_what_is_no_flag_is_told_with_the_nearest_that_is(capsys: pytest.CaptureFixture[str]):
    given = ["--model", "a", "b", "--metrics-prot", "1", "--sise=2", "--nonsense", "3"]
    assert _problems(capsys, *given).splitlines()[1:] == [
        "  b: this belongs to no flag; --help lists them.",
        "  --metrics-prot: there is no such flag; did you mean --metrics-port?",
        "  --sise: there is no such flag; did you mean --sizes?",
        "  --nonsense: there is no such flag; --help lists them.",
    ]


def test_help_tells_every_field_with_its_description(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        rpc.load(Settings, "serve", ["--help"])
    assert caught.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert "--" + name.replace("_", "-") in told
        assert field.description in told
    assert "Serves things." in told
    assert "--log-format {line,json}" in told
    assert "--message-bytes N" in told
    assert "Logs a line for each call when it has ended. Default: on." in told
    assert "shows the schema to anyone. Default: off." in told


@pytest.mark.parametrize("given", [("tls_key_file",), ("tls_certificate_file",), ("tls_client_ca_file",)])
def test_tls_files_come_together(given: tuple[str], tmp_path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "file.pem"
    file.write_text("x")
    flags = [text for name in given for text in ("--" + name.replace("_", "-"), str(file))]
    assert "certificate" in _problems(capsys, "--model", "m", *flags)


def test_tls_files_that_hold_something_else_are_a_sentence(tmp_path, capsys: pytest.CaptureFixture[str]):
    good, key = certificate(tmp_path)
    told = _problems(capsys, "--model", "m", "--tls-certificate-file", str(good), "--tls-key-file", str(good))
    assert f"--tls-key-file {good}: there is no private key in PEM without a passphrase in {good}.\n" in told
    given = ["--model", "m", "--tls-certificate-file", str(good), "--tls-key-file", str(key)]
    told = _problems(capsys, *given, "--tls-client-ca-file", str(key))
    assert f"--tls-client-ca-file {key}: there is no certificate in PEM in {key}.\n" in told
