from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sensorium.v1 import models_pb2
from tests.certificates import certificate
from tests.cli.conftest import Invoke
from tests.client.fake import Fake, serving


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
def fake(pair: tuple[Path, Path]) -> Iterator[Fake]:
    """Answers only who shows the certificate of `pair`."""
    authority, key = (path.read_bytes() for path in pair)
    with serving(grpc.ssl_server_credentials([(key, authority)], authority, require_client_auth=True)) as fake:
        fake.answers["ModelService/GetModel"] = lambda request, context: models_pb2.GetModelResponse()
        yield fake


def test_a_client_certificate_is_shown(invoke: Invoke, pair: tuple[Path, Path]) -> None:
    certificate_file, key = map(str, pair)
    given = ["--ca-file", certificate_file, "--cert-file", certificate_file, "--key-file", key]
    assert invoke("models", "get", "m", *given).exit_code == 0


def test_the_environment_names_the_files(
    invoke: Invoke, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, file in {"CA_FILE": pair[0], "CERT_FILE": pair[0], "KEY_FILE": pair[1]}.items():
        monkeypatch.setenv(f"SENSORIUM_{name}", str(file))
    assert invoke("models", "get", "m").exit_code == 0


def test_who_shows_none_is_told_of_it(invoke: Invoke, pair: tuple[Path, Path]) -> None:
    done = invoke("models", "get", "m", "--ca-file", str(pair[0]))
    assert done.exit_code == 1
    assert "--cert-file and --key-file?" in done.stderr
