import asyncio
import os
import signal
import threading
from typing import Any

from services.engine.checkpoint import ModelRefused
from services.process import ModelProcess
from services.text.config import TextSettings
from services.text.servicer import TextServicer
from tests.waiting import until


def test_a_signal_while_a_model_loads_does_not_wait_for_it() -> None:
    begun, over, ended = threading.Event(), threading.Event(), threading.Event()

    def load(*_: object) -> Any:
        begun.set()
        over.wait(5)
        ended.set()
        raise ModelRefused("Nobody listens any more.")

    async def serve() -> None:
        settings = TextSettings(model="any", port=0, metrics_port=0)
        process = ModelProcess(settings, "sensorium.v1.TextService", TextServicer, load)
        serving = asyncio.ensure_future(process.serve())
        await until(begun.is_set)
        os.kill(os.getpid(), signal.SIGTERM)
        await serving

    asyncio.run(serve())
    assert not ended.is_set()
    over.set()
