import pytest

from gateway.config import GatewaySettings
from sensorium import rpc


def test_addresses_are_separated_by_commas():
    settings = rpc.load(GatewaySettings, "gateway", ["--static", "a:1, [::1]:2,a:1"])
    assert settings.static == ("a:1", "[::1]:2")
    assert (settings.port, settings.metrics_port) == (50050, 9050)


def test_addresses_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SENSORIUM_STATIC", "a:1,b:2")
    assert rpc.load(GatewaySettings, "gateway", []).static == ("a:1", "b:2")


@pytest.mark.parametrize("address", ["a", "a:", ":1", "a:x", "a:0", "a:70000", "a:1,b", ","])
def test_what_is_no_address_is_refused(address: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        rpc.load(GatewaySettings, "gateway", ["--static", address])
    assert caught.value.code == 2
    assert f"--static {address}: " in capsys.readouterr().err


def test_addresses_are_required(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SENSORIUM_STATIC", raising=False)
    with pytest.raises(SystemExit):
        rpc.load(GatewaySettings, "gateway", [])
    assert "--static (or SENSORIUM_STATIC) is required." in capsys.readouterr().err
