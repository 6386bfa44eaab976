import subprocess
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from tests.rpc.peer import UNARY, ended, peer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, which is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost -keyout key.pem -out certificate.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


async def _answer(port: int, credentials: grpc.ChannelCredentials | None) -> StatusCode:
    target = f"localhost:{port}"
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options)
    async with channel:
        return await ended(channel.unary_unary(UNARY)(b"", timeout=20))


async def test_a_client_that_trusts_the_certificate_is_served_and_plaintext_is_not(pair: tuple[Path, Path]):
    certificate, key = pair
    async with peer(tls_certificate_file=certificate, tls_key_file=key) as there:
        trusting = grpc.ssl_channel_credentials(certificate.read_bytes())
        assert await _answer(there.server.port, trusting) is StatusCode.OK
        assert await _answer(there.server.port, None) is StatusCode.UNAVAILABLE


async def test_with_an_authority_only_clients_with_its_certificates_are_served(pair: tuple[Path, Path]):
    certificate, key = pair
    files = {"tls_certificate_file": certificate, "tls_key_file": key, "tls_client_ca_file": certificate}
    async with peer(**files) as there:
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes(), key.read_bytes(), certificate.read_bytes())
        assert await _answer(there.server.port, trusted) is StatusCode.OK
        stranger = grpc.ssl_channel_credentials(certificate.read_bytes())
        assert await _answer(there.server.port, stranger) is StatusCode.UNAVAILABLE
