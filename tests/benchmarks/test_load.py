import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from benchmarks.text.caller import Dialect, GrpcCaller, HttpCaller
from benchmarks.text.load import Amount, closed_loop, static_batches
from benchmarks.text.sample import Prompt, RequestSample
from benchmarks.text.vocabulary import first_word_id
from benchmarks.text.workload import WORKLOADS
from tests.fakes.text_service import FakeTextService, Script

WORD = first_word_id()


class Fake:
    """Answers with three tokens, and counts."""

    def __init__(self, fail_at: int = -1) -> None:
        self.sent: list[Prompt] = []
        self.running = self.most = 0
        self.fail_at = fail_at

    async def __aenter__(self) -> "Fake":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def call(self, prompts: Sequence[Prompt]) -> list[RequestSample]:
        self.sent += prompts
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        error = "broken" if len(self.sent) > self.fail_at >= 0 else ""
        return [RequestSample(0.0, [1.0, 2.0, 3.0], len(prompt.token_ids), 3, error) for prompt in prompts]


def prompt(index: int) -> Prompt:
    return Prompt((WORD, WORD + index), 3)


async def test_the_loop_keeps_its_concurrency_until_the_amount_is_full() -> None:
    fake = Fake()
    load = await closed_loop(fake, prompt, 4, Amount(seconds=0, requests=10))
    assert fake.most == 4
    assert 10 <= len(load.samples) <= 13
    assert len({one.token_ids for one in fake.sent}) == len(fake.sent)
    assert load.end > load.begin


async def test_a_failure_ends_the_loop() -> None:
    fake = Fake(fail_at=2)
    load = await closed_loop(fake, prompt, 2, Amount(seconds=3600, requests=10))
    assert any(sample.error == "broken" for sample in load.samples)


async def test_static_batches_are_whole() -> None:
    fake = Fake()
    load = await static_batches(fake, prompt, 4, Amount(seconds=0, requests=6))
    assert fake.most == 1
    assert len(load.samples) == 8


def test_prompts_are_the_same_for_every_system() -> None:
    workload = WORKLOADS["shared"]
    first, second = workload.prompt(0, 1), workload.prompt(0, 2)
    assert first == workload.prompt(0, 1)
    assert first.token_ids[:384] == second.token_ids[:384]
    assert first.token_ids[384:] != second.token_ids[384:]
    assert len(first.token_ids) == 448


async def test_grpc_tokens_are_timed_and_counted() -> None:
    async with FakeTextService(script=Script(tokens=5)) as fake, GrpcCaller(fake.port) as caller:
        (sample,) = await caller.call([prompt(1)])
    assert not sample.error
    assert len(sample.arrivals) == sample.output_tokens == 5
    assert sample.sent <= sample.arrivals[0] <= sample.arrivals[-1]
    request = fake.seen[-1].request
    assert list(request.prompt_token_ids.ids) == [WORD, WORD + 1]
    assert (request.parameters.max_new_tokens, request.parameters.ignore_eos) == (3, True)


async def test_a_grpc_failure_is_in_the_sample() -> None:
    script = Script(tokens=1, error=RuntimeError("broken"))
    async with FakeTextService(script=script) as fake, GrpcCaller(fake.port) as caller:
        (sample,) = await caller.call([prompt(1)])
    assert "Internal" in sample.error


@asynccontextmanager
async def completions(events: list[dict[str, Any]], seen: list[Any], status: int = 200) -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        if status != 200:
            return web.Response(status=status, text="refused")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


USAGE = {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3}}


async def test_http_tokens_are_counted_by_their_ids() -> None:
    events = [{"choices": [{"text": "a", "token_ids": [1]}]}, {"choices": [{"text": "bc", "token_ids": [2, 3]}]}, USAGE]
    seen: list[Any] = []
    dialect = Dialect("m", token_ids=True, extra={"ignore_eos": True})
    async with completions(events, seen) as port, HttpCaller(port, dialect) as caller:
        (sample,) = await caller.call([prompt(1)])
    assert not sample.error
    assert len(sample.arrivals) == sample.output_tokens == 3
    assert sample.prompt_tokens == 2
    assert seen[0]["prompt"] == [WORD, WORD + 1]
    assert seen[0]["ignore_eos"] is True


async def test_http_tokens_without_ids_are_pieces_with_text() -> None:
    events: list[dict[str, Any]] = [{"choices": [{"text": text}]} for text in (" aaa", "", " aab")]
    seen: list[Any] = []
    dialect = Dialect("m", token_ids=False, extra={})
    async with completions([*events, USAGE], seen) as port, HttpCaller(port, dialect) as caller:
        (sample,) = await caller.call([prompt(1)])
    assert len(sample.arrivals) == 2
    assert sample.output_tokens == 3
    assert seen[0]["prompt"] == " aaa aab"


@pytest.mark.parametrize(("events", "status", "said"), [([], 503, "HTTP 503"), ([{"error": "dead"}], 200, "dead")])
async def test_an_http_failure_is_in_the_sample(events: list[dict[str, Any]], status: int, said: str) -> None:
    async with completions(events, [], status) as port, HttpCaller(port, Dialect("m", False, {})) as caller:
        (sample,) = await caller.call([prompt(1)])
    assert said in sample.error
