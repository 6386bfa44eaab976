from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from sensorium.cli.app import application
from tests.client.fake import Fake, serving

Invoke = Callable[..., Result]


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving() as fake:
        yield fake


@pytest.fixture
def invoke(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs one command against the fake server."""
    monkeypatch.setenv("SENSORIUM_TARGET", fake.target)
    monkeypatch.delenv("SENSORIUM_TOKEN", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    app = application()

    def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, arguments, input=stdin)

    return run
