import pytest


@pytest.fixture(autouse=True)
def slow_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets channels wait for the test to greet them, which a slow machine may hold up."""
    monkeypatch.setattr("sensorium.rpc.http2.channel._ATTEMPT_SECONDS", 60)
