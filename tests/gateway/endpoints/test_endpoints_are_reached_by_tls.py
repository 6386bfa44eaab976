from pathlib import Path
from typing import Any

import pytest

from gateway.config import GatewaySettings
from gateway.discovery import Member
from gateway.endpoints import pool
from gateway.endpoints.channels import Channels
from gateway.endpoints.router import EndpointState
from sensorium import rpc
from sensorium.errors import Unavailable
from sensorium.rpc.http2 import server
from sensorium.v1 import text_pb2
from tests.certificates import certificate
from tests.fakes.discovery import FakeDiscovery
from tests.fakes.text_service import FakeTextService
from tests.gateway.rig import error_of, rig
from tests.waiting import PATIENCE, until

NAME = "DNS:sensorium-text.models.svc"
REQUEST = text_pb2.TokenizeRequest(texts=["a"])


def towards(pair: tuple[Path, Path], **more: Any) -> dict[str, Any]:
    """The gateway's settings."""
    return {"endpoint_tls_ca_file": pair[0], "endpoint_tls_name": "sensorium-{pool}.models.svc", **more}


def served(pair: tuple[Path, Path], **more: Any) -> dict[str, Any]:
    """The service's settings."""
    return {"tls_certificate_file": pair[0], "tls_key_file": pair[1], **more}


@pytest.fixture(autouse=True)
def times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopping server waits shortly for TLS close_notify, which gRPC clients do not send; a handshake may be slow."""
    monkeypatch.setitem(server._TLS_SECONDS, "ssl_shutdown_timeout", 0.2)
    monkeypatch.setattr("sensorium.rpc.http2.channel._ATTEMPT_SECONDS", PATIENCE)


async def test_endpoints_are_verified_by_name_and_gateways_by_client_certificate(tmp_path: Path):
    pair = certificate(tmp_path, NAME)
    mutual = served(pair, tls_client_ca_file=pair[0])
    shown = {"endpoint_tls_certificate_file": pair[0], "endpoint_tls_key_file": pair[1]}
    async with FakeTextService(settings=mutual) as fake:
        members = FakeDiscovery(Member(fake.address, "text"))
        async with rig(discovery=members, **towards(pair, **shown)) as gateway:
            await gateway.text.Tokenize(REQUEST)
        # It fails without a client certificate, with another name, and in plaintext.
        for wrong in (towards(pair), towards(pair, **shown, endpoint_tls_name="other.models.svc"), {}):
            members.tell(Member(fake.address, "text"))
            async with rig(discovery=members, reachable=False, **wrong) as gateway:
                assert isinstance(await error_of(gateway.text.Tokenize(REQUEST)), Unavailable)
        assert len(fake.seen) == 1


async def test_replaced_files_apply_to_new_connections_and_no_call_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(pool, "_RENEWAL_SECONDS", 0.05)
    folders = [tmp_path / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    old, new = (certificate(folder, NAME) for folder in folders)
    now = tmp_path / "now.pem"
    now.write_bytes(old[0].read_bytes())
    async with FakeTextService(settings=served(old)) as fake:
        members = FakeDiscovery(Member(fake.address, "text"))
        async with rig(discovery=members, **towards((now, now))) as gateway:
            first = gateway.endpoint(fake.address)
            now.write_bytes(old[0].read_bytes() + new[0].read_bytes())
            while gateway.endpoint(fake.address) is first:
                await gateway.text.Tokenize(REQUEST)
            await gateway.text.Tokenize(REQUEST)
            # With a CA that did not sign the endpoint's certificate, the old connection stays in use.
            second = gateway.endpoint(fake.address)
            now.write_bytes(new[0].read_bytes())
            await until(lambda: f"{fake.address} is not reached with the new TLS files" in caplog.text)
            assert gateway.endpoint(fake.address) is second
            await until(lambda: second.state is EndpointState.READY)
            await gateway.text.Tokenize(REQUEST)


def test_a_key_that_does_not_fit_the_certificate_is_not_used(tmp_path: Path):
    (tmp_path / "other").mkdir()
    own, other = certificate(tmp_path, NAME), certificate(tmp_path / "other", NAME)
    files = {"endpoint_tls_certificate_file": own[0], "endpoint_tls_key_file": own[1]}
    channels = Channels(GatewaySettings(static=("a:1",), endpoint_tls_ca_file=own[0], **files))
    first = channels._tls
    assert not channels.renewed()
    own[0].write_bytes(other[0].read_bytes())
    assert not channels.renewed()
    assert channels._tls is first
    own[1].write_bytes(other[1].read_bytes())
    assert channels.renewed()
    assert channels._tls is not first
    assert not channels.renewed()


def test_incomplete_tls_settings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "file.pem"
    file.touch()
    given = ["--static", "a:1", "--endpoint-tls-name", "x", "--endpoint-tls-key-file", str(file)]
    with pytest.raises(SystemExit):
        rpc.load(GatewaySettings, "gateway", given)
    stderr = capsys.readouterr().err
    assert "--endpoint-tls-name x: it has no effect in plaintext" in stderr
    assert f"--endpoint-tls-key-file {file}: it has no effect in plaintext" in stderr
    with pytest.raises(SystemExit):
        rpc.load(GatewaySettings, "gateway", ["--endpoint-tls-ca-file", str(file), *given])
    stderr = capsys.readouterr().err
    assert "come together" in stderr
    assert f"--endpoint-tls-ca-file {file}: there is no certificate in PEM in {file}" in stderr
