"""The rest of a stream that lost its replica is what that replica would have sent."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.config import GatewaySettings
from sensorium import AsyncClient
from sensorium.v1 import text_pb2 as pb
from services.engine.generation.computation import Computation
from tests.e2e.conftest import Checkpoints
from tests.e2e.stack import QUICK, text_service
from tests.fakes.cable import Cable

SAMPLED = {"temperature": 1.1, "top_p": 0.95, "seed": 11}
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0, "logprob_count": 2},
    "three candidates": SAMPLED | {"candidate_count": 3},
    "penalties": SAMPLED | {"repetition_penalty": 1.2, "presence_penalty": 0.5, "no_repeat_ngram_size": 4},
    "stop strings": SAMPLED | {"candidate_count": 2, "stop_strings": ["zq", "ab"]},
    "prompt lookup": {"temperature": 0.2, "seed": 3, "prompt_lookup": {}, "logprob_count": 0},
    "structure": SAMPLED | {"structured_output": {"regex": "([a-z]{1,5} ){60}end"}},
}


async def read(client: AsyncClient, request: pb.StreamGenerateRequest, cable: Cable | None = None) -> Any:
    """Returns what each candidate came to, and the usage; cuts the cable while the stream goes on."""
    texts: defaultdict[int, str] = defaultdict(str)
    tokens: defaultdict[int, list[int]] = defaultdict(list)
    logprobs: list[float] = []
    count = starts = 0
    async for event in client.text.stream_generate(request):
        count, starts = count + 1, starts + event.HasField("started")
        texts[event.delta.candidate_index] += event.delta.text
        tokens[event.delta.candidate_index] += event.delta.token_ids
        logprobs += [each.logprob for each in event.delta.logprobs]
        if count == 5 and cable is not None:
            await cable.cut()
    assert starts == 1
    finishes = [(each.candidate_index, each.finish) for each in event.completed.candidates]
    used = (event.completed.usage.input_token_count, event.completed.usage.output_token_count)
    return (dict(texts), dict(tokens), finishes, used), logprobs


@asynccontextmanager
async def gateway_of(*addresses: str) -> AsyncIterator[tuple[Gateway, AsyncClient]]:
    gateway = Gateway(GatewaySettings(static=addresses, **QUICK))
    async with gateway, gateway.server as server:
        await gateway.prepare()
        server.ready()
        async with AsyncClient(f"127.0.0.1:{server.port}", timeout=60) as client:
            yield gateway, client


def slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets steps take longer, so that no stream is over before whoever is to cut it has read its beginning."""
    run = Computation.run

    def slowly(computation: Computation, rows: Any) -> Any:
        time.sleep(0.003)
        return run(computation, rows)

    monkeypatch.setattr(Computation, "run", slowly)


@pytest.mark.parametrize("case", CASES)
async def test_nothing_tells_that_a_replica_was_lost(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    request = pb.StreamGenerateRequest(prompt="Once", parameters=CASES[case] | {"max_new_tokens": 150})
    folder = checkpoints("llama")
    # The one with more rows is the first to be chosen.
    many, few = {"name": "m", "max_sequences": 16}, {"name": "m", "max_sequences": 4}
    async with text_service(folder, **many) as lost, text_service(folder, **few) as other:
        async with AsyncClient(other.address, timeout=60) as client:
            expected, likely = await read(client, request)
        slow_down(monkeypatch)
        async with (
            Cable(lost.service.server.port) as cable,
            gateway_of(cable.address, other.address) as (gateway, client),
        ):
            told, told_likely = await read(client, request, cable)
            assert told == expected
            assert told_likely == pytest.approx(likely, abs=1e-4)
            resumed = gateway.registry.get_sample_value("sensorium_gateway_stream_resumes_total", {"result": "resumed"})
            assert resumed == 1
