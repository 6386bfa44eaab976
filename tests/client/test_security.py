import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sensorium import TLS, AsyncClient, Client, Unavailable
from sensorium.client.target import is_loopback
from sensorium.v1 import models_pb2
from tests.client.fake import Fake, serving

REQUEST = models_pb2.ListModelsRequest()


def empty(*_: object) -> models_pb2.ListModelsResponse:
    return models_pb2.ListModelsResponse()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate for `service.internal` and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=service.internal "
        "-addext subjectAltName=DNS:service.internal -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def secured(authority: Path) -> Iterator[Fake]:
    pair = (authority / "key.pem").read_bytes(), (authority / "cert.pem").read_bytes()
    with serving(grpc.ssl_server_credentials([pair])) as fake:
        fake.answers["ModelService/ListModels"] = empty
        yield fake


def test_tls_with_a_token(secured: Fake, authority: Path) -> None:
    tls = TLS(ca_file=authority / "cert.pem", server_name="service.internal")
    with Client(secured.target, tls=tls, token="s3cret") as client:
        client.models.list_models(REQUEST, timeout=300)
    assert secured.seen[0].metadata["authorization"] == "Bearer s3cret"


async def test_tls_awaited(secured: Fake, authority: Path) -> None:
    tls = TLS(ca_file=authority / "cert.pem", server_name="service.internal")
    async with AsyncClient(secured.target, tls=tls, token="s3cret") as client:
        await client.models.list_models(REQUEST, timeout=300)
    assert secured.seen[0].metadata["authorization"] == "Bearer s3cret"


def test_an_unknown_authority_is_refused(secured: Fake) -> None:
    tls = TLS(server_name="service.internal")
    with Client(secured.target, tls=tls, retry=None) as client, pytest.raises(Unavailable):
        client.models.list_models(REQUEST, timeout=300)
    assert secured.seen == []


def test_another_name_is_refused(secured: Fake, authority: Path) -> None:
    tls = TLS(ca_file=authority / "cert.pem", server_name="other.internal")
    with Client(secured.target, tls=tls, retry=None) as client, pytest.raises(Unavailable):
        client.models.list_models(REQUEST, timeout=300)


def test_a_token_does_not_travel_in_clear_text() -> None:
    with pytest.raises(ValueError, match="clear text"):
        Client("gateway.internal:50050", token="s3cret")
    with pytest.raises(ValueError, match="clear text"):
        AsyncClient("gateway.internal:50050", token="s3cret")
    Client("gateway.internal:50050", token="s3cret", plaintext_token=True).close()


def test_a_token_travels_to_this_machine(fake: Fake) -> None:
    fake.answers["ModelService/ListModels"] = empty
    with Client(fake.target, token="s3cret") as client:
        client.models.list_models(REQUEST)
    assert fake.seen[0].metadata["authorization"] == "Bearer s3cret"


def test_a_token_never_shows() -> None:
    with pytest.raises(ValueError, match="printable") as raised:
        Client(token="s3cret\n")
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_file_that_cannot_be_read_is_told_at_once(kind: type[Client] | type[AsyncClient]) -> None:
    with pytest.raises(FileNotFoundError, match=r"no-such\.pem"):
        kind(tls=TLS(ca_file="no-such.pem"))


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tls": True}, r"tls must be a sensorium.TLS, such as TLS\(\) .*, not bool"),
        ({"tls": False, "token": "x"}, "tls must be .* None for clear text, not bool"),
        ({"retry": 3}, "retry must be a sensorium.Retry or None, not int"),
        ({"plaintext_token": "no"}, "plaintext_token must be True or False, not str"),
        ({"token": b"s3cret"}, "^token must be text or None, not bytes.$"),
        ({"model": None}, "model must be text, not NoneType"),
    ],
)
def test_arguments_of_wrong_types_are_told_at_once(kind: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        kind("service.internal:443", **given)


def test_files_that_hold_something_else_are_told_at_once(authority: Path) -> None:
    certificate, key = authority / "cert.pem", authority / "key.pem"
    encrypted = authority / "encrypted.pem"
    command = f"openssl ec -in {key} -aes256 -passout pass:secret -out {encrypted}"
    subprocess.run(command.split(), check=True, capture_output=True)
    for tls, said in (
        (TLS(ca_file=key), f"no certificate in PEM in {key}"),
        (TLS(cert_file=key, key_file=key), f"no certificate in PEM in {key}"),
        (
            TLS(cert_file=certificate, key_file=certificate),
            f"no private key in PEM without a passphrase in {certificate}",
        ),
        (TLS(cert_file=certificate, key_file=encrypted), "without a passphrase"),
        (
            TLS(cert_file=certificate, key_file=another_key(authority)),
            f"is not that of the certificate in {certificate}",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            Client(tls=tls)


def another_key(folder: Path) -> Path:
    command = f"openssl ecparam -name prime256v1 -genkey -noout -out {folder / 'other.pem'}"
    subprocess.run(command.split(), check=True, capture_output=True)
    return folder / "other.pem"


def test_half_a_client_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="key_file"):
        TLS(cert_file="cert.pem")


@pytest.mark.parametrize(
    ("target", "loopback"),
    [
        ("127.0.0.1:50050", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("dns:///localhost:1", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:1", True),
        ("ipv6:[::1]:1", True),
        ("unix:/run/sensorium.sock", True),
        ("unix:///run/sensorium.sock", True),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("127.0.0.1.example.com:1", False),
        ("localhost.example.com:1", False),
        ("dns:///gateway:50050", False),
        ("dns://10.0.0.1/localhost:1", False),
        ("xds:///localhost", False),
        ("0.0.0.0:1", False),
        ("10.0.0.1:50050", False),
    ],
)
def test_which_targets_are_this_machine(target: str, loopback: bool) -> None:
    assert is_loopback(target) is loopback


def test_a_proxy_is_not_asked_for_this_machine(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    fake.answers["ModelService/ListModels"] = empty
    with Client(fake.target, retry=None) as client:
        client.models.list_models(REQUEST, timeout=300)
