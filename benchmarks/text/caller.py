"""Clients of the measured systems: gRPC, or server-sent events over HTTP."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import aiohttp

import sensorium
from benchmarks.text.sample import Prompt, RequestSample
from benchmarks.text.vocabulary import text_of
from sensorium.v1.common_pb2 import GenerationParameters, TokenIds
from sensorium.v1.text_pb2 import StreamGenerateRequest


class Caller(Protocol):
    """Sends requests to one system. Its connections are open inside `async with`."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...

    async def call(self, prompts: Sequence[Prompt]) -> list[RequestSample]:
        """Sends requests together and returns a sample of each. Failures are recorded in samples, never raised."""
        ...


class GrpcCaller:
    """Calls StreamGenerate with token ids as the prompt."""

    def __init__(self, port: int) -> None:
        self._client = sensorium.AsyncClient(f"127.0.0.1:{port}", retry=None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def call(self, prompts: Sequence[Prompt]) -> list[RequestSample]:
        """Sends one request; `prompts` holds one."""
        (prompt,) = prompts
        request = StreamGenerateRequest(
            prompt_token_ids=TokenIds(ids=prompt.token_ids),
            parameters=GenerationParameters(temperature=0.0, max_new_tokens=prompt.new_tokens, ignore_eos=True),
        )
        sample = RequestSample(time.perf_counter())
        try:
            async for event in self._client.text.stream_generate(request):
                now = time.perf_counter()
                sample.arrivals += [now] * len(event.delta.token_ids)
                if event.HasField("completed"):
                    sample.prompt_tokens = event.completed.usage.input_token_count
                    sample.output_tokens = event.completed.usage.output_token_count
        except sensorium.SensoriumError as error:
            sample.error = repr(error)
        return [sample]


@dataclass(frozen=True)
class Dialect:
    """Differences between servers of `/v1/completions`."""

    model: str
    token_ids: bool
    """Whether it accepts prompts as token ids and returns the token ids of each chunk."""
    extra: dict[str, Any]


class HttpCaller:
    """Calls `/v1/completions` with streaming."""

    def __init__(self, port: int, dialect: Dialect) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/completions"
        self._dialect = dialect

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=600)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(self, prompts: Sequence[Prompt]) -> list[RequestSample]:
        """Sends one request; `prompts` holds one."""
        (prompt,) = prompts
        ids = list(prompt.token_ids)
        content = ids if self._dialect.token_ids else text_of(ids)
        body = {"model": self._dialect.model, "prompt": content, "max_tokens": prompt.new_tokens, "stream": True}
        sample = RequestSample(time.perf_counter())
        try:
            async with self._session.post(self._url, json=body | self._dialect.extra) as response:
                if response.status != 200:
                    sample.error = f"HTTP {response.status}: {(await response.text())[:300]}"
                    return [sample]
                async for line in response.content:
                    self._read(line, sample)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            sample.error = repr(error)
        return [sample]

    def _read(self, line: bytes, sample: RequestSample) -> None:
        now = time.perf_counter()
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            return
        event = json.loads(line[6:])
        if "error" in event:
            raise ValueError(event["error"])
        for choice in event.get("choices", ()):
            count = len(choice.get("token_ids") or ()) if self._dialect.token_ids else bool(choice.get("text"))
            sample.arrivals += [now] * count
        if usage := event.get("usage"):
            sample.prompt_tokens, sample.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
