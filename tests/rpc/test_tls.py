from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from tests.certificates import certificate
from tests.rpc.peer import UNARY, ended, peer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def other(tmp_path: Path) -> tuple[Path, Path]:
    return certificate(tmp_path)


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
    authority, key = pair
    async with peer(tls_certificate_file=authority, tls_key_file=key) as there:
        trusting = grpc.ssl_channel_credentials(authority.read_bytes())
        assert await _answer(there.server.port, trusting) is StatusCode.OK
        assert await _answer(there.server.port, None) is StatusCode.UNAVAILABLE


async def test_with_an_authority_only_clients_with_its_certificates_are_served(pair: tuple[Path, Path]):
    authority, key = pair
    files = {"tls_certificate_file": authority, "tls_key_file": key, "tls_client_ca_file": authority}
    async with peer(**files) as there:
        trusted = grpc.ssl_channel_credentials(authority.read_bytes(), key.read_bytes(), authority.read_bytes())
        assert await _answer(there.server.port, trusted) is StatusCode.OK
        stranger = grpc.ssl_channel_credentials(authority.read_bytes())
        assert await _answer(there.server.port, stranger) is StatusCode.UNAVAILABLE


async def test_files_that_are_replaced_count_for_the_next_connection(
    pair: tuple[Path, Path], other: tuple[Path, Path], tmp_path: Path
):
    files = [tmp_path / "now.pem", tmp_path / "now-key.pem"]
    trusting = [grpc.ssl_channel_credentials(authority.read_bytes()) for authority, _ in (pair, other)]

    def replace(source: tuple[Path, Path]) -> None:
        for target, new in zip(files, source, strict=True):
            target.write_bytes(new.read_bytes())

    replace(pair)
    async with peer(tls_certificate_file=files[0], tls_key_file=files[1]) as there:
        port = there.server.port
        assert await _answer(port, trusting[0]) is StatusCode.OK
        # With only the certificate replaced, or with a file missing, the last valid pair stays in use.
        files[0].write_bytes(other[0].read_bytes())
        assert await _answer(port, trusting[0]) is StatusCode.OK
        files[0].unlink()
        assert await _answer(port, trusting[0]) is StatusCode.OK
        replace(other)
        assert await _answer(port, trusting[1]) is StatusCode.OK
        assert await _answer(port, trusting[0]) is StatusCode.UNAVAILABLE
