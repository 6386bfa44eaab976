"""Client of the `benchmarks.text.generate` process."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Self

from benchmarks.process import Process, SystemFailed
from benchmarks.text.sample import Prompt, RequestSample


class BatchCaller:
    """Sends whole static batches; all requests of a batch have the same token times."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._answers = process.answers()
        self._answer()  # the first line says that it is ready

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def call(self, prompts: Sequence[Prompt]) -> list[RequestSample]:
        """Runs one batch and returns one sample per prompt. All prompts have the same length and token limit."""
        sent = time.perf_counter()
        batch = {"prompts": [prompt.token_ids for prompt in prompts], "new_tokens": prompts[0].new_tokens}
        self._process.tell(batch)
        times = (await asyncio.to_thread(self._answer))["times"]
        return [
            RequestSample(sent, list(times), prompt_tokens=len(prompt.token_ids), output_tokens=len(times))
            for prompt in prompts
        ]

    def _answer(self) -> dict[str, Any]:
        if (answer := next(self._answers, None)) is None:
            raise SystemFailed(f"generate ended:\n{self._process.last_lines()}")
        return answer
