"""Client of the `benchmarks.text.engine` process."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from typing import Self

from benchmarks.process import Process, SystemFailed
from benchmarks.text.sample import Prompt, RequestSample


class PipeCaller:
    """Sends each request as a line of JSON, and reads its token times from the line that answers it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ids = count()
        self._waiting: dict[int, asyncio.Future[list[float]]] = {}
        self._answers = process.answers()
        if next(self._answers, None) is None:  # the first line says that it is ready
            raise SystemFailed(f"the engine ended:\n{process.last_lines()}")

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(asyncio.to_thread(self._read, asyncio.get_running_loop()))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.popen.stdin is not None
        self._process.popen.stdin.close()
        await self._reader

    async def call(self, prompts: Sequence[Prompt]) -> list[RequestSample]:
        """Sends one request; `prompts` holds one."""
        (prompt,) = prompts
        identifier = next(self._ids)
        answer = self._waiting[identifier] = asyncio.get_running_loop().create_future()
        asked = {"id": identifier, "prompt": prompt.token_ids, "new_tokens": prompt.new_tokens}
        sent = time.perf_counter()
        self._process.tell(asked)
        try:
            times = await answer
        except SystemFailed as error:
            return [RequestSample(sent, error=str(error))]
        return [RequestSample(sent, times, prompt_tokens=len(prompt.token_ids), output_tokens=len(times))]

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        for answer in self._answers:
            loop.call_soon_threadsafe(self._waiting.pop(answer["id"]).set_result, answer["times"])
        for left in list(self._waiting.values()):
            loop.call_soon_threadsafe(left.set_exception, SystemFailed("the engine ended"))
