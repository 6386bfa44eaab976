import pytest

from gateway.config import GatewaySettings
from gateway.discovery.places import HostPort
from sensorium import rpc


def test_addresses_are_separated_by_commas():
    settings = rpc.load(GatewaySettings, "gateway", ["--static", "a:1, [::1]:2,a:1"])
    assert settings.static == ("a:1", "[::1]:2")
    assert (settings.port, settings.metrics_port) == (50050, 9050)


def test_pools_have_names():
    settings = rpc.load(GatewaySettings, "gateway", ["--static", "text=a:1,b:2,vision=[::1]:3"])
    places = [HostPort.parse(text) for text in settings.static]
    assert [(place.pool, place.address) for place in places] == [
        ("text", "a:1"),
        ("default", "b:2"),
        ("vision", "[::1]:3"),
    ]


def test_addresses_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SENSORIUM_STATIC", "a:1,b:2")
    assert rpc.load(GatewaySettings, "gateway", []).static == ("a:1", "b:2")


@pytest.mark.parametrize("address", ["a", "a:", ":1", "a:x", "a:0", "a:70000", "a:1,b", "=a:1", "::1:2", "x=a:1,y=a:1"])
def test_a_malformed_address_is_refused(address: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        rpc.load(GatewaySettings, "gateway", ["--static", address])
    assert caught.value.code == 2
    assert f"--static {address}: " in capsys.readouterr().err


@pytest.mark.parametrize("discovery", ["static", "dns", "endpointslice"])
def test_the_setting_of_the_chosen_discovery_is_required(
    discovery: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SENSORIUM_STATIC", raising=False)
    with pytest.raises(SystemExit):
        rpc.load(GatewaySettings, "gateway", ["--discovery", discovery])
    needed = {"endpointslice": "endpointslices"}.get(discovery, discovery)
    stderr = capsys.readouterr().err
    assert f"--{needed} (or SENSORIUM_{needed.upper()}) is required." in stderr
    assert stderr.count("is required") == 1


def test_settings_of_another_discovery_are_refused_all_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SENSORIUM_NAMESPACE", "models")
    arguments = ["--discovery", "dns", "--dns", "text=a", "--static", "a:1", "--resync-seconds", "60"]
    with pytest.raises(SystemExit) as caught:
        rpc.load(GatewaySettings, "gateway", arguments)
    assert caught.value.code == 2
    stderr = capsys.readouterr().err
    assert "--dns text=a: 'text=a' is not HOST:PORT" in stderr
    for unused in ("--static a:1", "--resync-seconds 60", "SENSORIUM_NAMESPACE=models"):
        assert f"{unused}: it has no effect with --discovery dns" in stderr


@pytest.mark.parametrize("place", ["Text", "a.b", "text:", "text:GRPC", "a b=text", "=text"])
def test_a_malformed_service_is_refused(place: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        rpc.load(GatewaySettings, "gateway", ["--discovery", "endpointslice", "--endpointslices", place])
    assert f"--endpointslices {place}: " in capsys.readouterr().err
