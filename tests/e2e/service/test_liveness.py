import asyncio
import urllib.error
import urllib.request

import pytest

from services.engine.generation.engine import GenerationEngine
from tests.e2e.conftest import Checkpoints
from tests.e2e.stack import text_service


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=300) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def test_livez_fails_when_the_engine_is_stuck(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    async with text_service(checkpoints("llama"), stuck_step_seconds=7) as text:
        port = text.service.server.metrics_port
        assert await asyncio.to_thread(status, port, "/livez") == 200
        asked: list[float] = []
        monkeypatch.setattr(GenerationEngine, "trouble", lambda _, seconds: asked.append(seconds) or "hung")
        assert await asyncio.to_thread(status, port, "/livez") == 503
        assert await asyncio.to_thread(status, port, "/readyz") == 200
        assert asked == [7]
