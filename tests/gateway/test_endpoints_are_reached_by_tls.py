from pathlib import Path
from typing import Any

import pytest

from gateway import pool
from gateway.channels import Channels
from gateway.config import GatewaySettings
from gateway.discovery import Member
from gateway.router import EndpointState
from sensorium import rpc
from sensorium.errors import Unavailable
from sensorium.rpc.http2 import server
from sensorium.v1 import text_pb2
from tests.certificates import certificate
from tests.fakes.discovery import FakeDiscovery
from tests.fakes.text_service import FakeTextService
from tests.gateway.rig import error_of, rig
from tests.waiting import until

NAME = "DNS:sensorium-text.models.svc"
REQUEST = text_pb2.TokenizeRequest(texts=["a"])


def towards(pair: tuple[Path, Path], **more: Any) -> dict[str, Any]:
    """The gateway's settings."""
    return {"endpoint_tls_ca_file": pair[0], "endpoint_tls_name": "sensorium-{pool}.models.svc", **more}


def served(pair: tuple[Path, Path], **more: Any) -> dict[str, Any]:
    """The service's settings."""
    return {"tls_certificate_file": pair[0], "tls_key_file": pair[1], **more}


@pytest.fixture(autouse=True)
def short_farewells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends waits so long for a client's end of TLS, which gRPC's clients do not send."""
    monkeypatch.setitem(server._TLS_SECONDS, "ssl_shutdown_timeout", 0.2)


async def test_by_address_with_the_name_in_the_certificate_and_the_certificate_of_the_gateway(tmp_path: Path):
    pair = certificate(tmp_path, NAME)
    mutual = served(pair, tls_client_ca_file=pair[0])
    shown = {"endpoint_tls_certificate_file": pair[0], "endpoint_tls_key_file": pair[1]}
    async with FakeTextService(settings=mutual) as fake:
        members = FakeDiscovery(Member(fake.address, "text"))
        async with rig(discovery=members, **towards(pair, **shown)) as gateway:
            await gateway.text.Tokenize(REQUEST)
        # Neither without a certificate of one's own, nor under another name, nor in plaintext.
        for wrong in (towards(pair), towards(pair, **shown, endpoint_tls_name="other.models.svc"), {}):
            members.tell(Member(fake.address, "text"))
            async with rig(discovery=members, reachable=False, **wrong) as gateway:
                assert isinstance(await error_of(gateway.text.Tokenize(REQUEST)), Unavailable)
        assert len(fake.seen) == 1


async def test_files_that_are_replaced_count_for_new_connections_and_no_call_fails(
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
        async with rig(discovery=members, probe_timeout_seconds=0.5, **towards((now, now))) as gateway:
            first = gateway.endpoint(fake.address)
            now.write_bytes(old[0].read_bytes() + new[0].read_bytes())
            while gateway.endpoint(fake.address) is first:
                await gateway.text.Tokenize(REQUEST)
            await gateway.text.Tokenize(REQUEST)
            # Authorities that the endpoint is not of: the connection that stands goes on.
            second = gateway.endpoint(fake.address)
            now.write_bytes(new[0].read_bytes())
            await until(lambda: f"{fake.address} is not reached with the new TLS files" in caplog.text)
            assert gateway.endpoint(fake.address) is second
            await until(lambda: second.state is EndpointState.READY)
            await gateway.text.Tokenize(REQUEST)


def test_files_that_do_not_belong_together_are_not_taken_over_until_they_do(tmp_path: Path):
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


def test_what_belongs_together_is_given_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "file.pem"
    file.touch()
    given = ["--static", "a:1", "--endpoint-tls-name", "x", "--endpoint-tls-key-file", str(file)]
    with pytest.raises(SystemExit):
        rpc.load(GatewaySettings, "gateway", given)
    told = capsys.readouterr().err
    assert "--endpoint-tls-name x: it is not used in plaintext" in told
    assert f"--endpoint-tls-key-file {file}: it is not used in plaintext" in told
    with pytest.raises(SystemExit):
        rpc.load(GatewaySettings, "gateway", ["--endpoint-tls-ca-file", str(file), *given])
    told = capsys.readouterr().err
    assert "come together" in told
    assert f"--endpoint-tls-ca-file {file}: there is no certificate in PEM in {file}" in told
