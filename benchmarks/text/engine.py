"""The engine of the text service in a process of its own, without a server: requests come as lines of JSON.

What a service adds is the difference to this one.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from typing import Any

import torch
import uvloop
from prometheus_client import CollectorRegistry

from services.engine.generation.building.build import EngineSettings, build_engine
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.output.detokenizer import IncrementalDetokenizer
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.requests.request import Delta, GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import load_language_model
from services.engine.metrics import EngineMetrics


async def token_times(
    engine: GenerationEngine, encoder: PromptEncoder, prompt: tuple[int, ...], new_tokens: int
) -> list[float]:
    """Runs one request; returns when its tokens came, on the machine's monotonic clock."""
    stopping = StoppingCriteria(max_new_tokens=new_tokens)
    detokenizer = IncrementalDetokenizer(encoder, prompt, skip_special_tokens=True)
    request = GenerationRequest(prompt, SamplingParameters(), stopping)
    times: list[float] = []
    async for event in engine.submit(request, OutputBuilder(detokenizer, stopping, TokenTexts(encoder))):
        times += [time.perf_counter()] * len(event.token_ids) if isinstance(event, Delta) else []
    return times


class _Runner:
    """Runs requests, and says when their tokens came."""

    def __init__(self, engine: GenerationEngine, encoder: PromptEncoder) -> None:
        self._engine = engine
        self._encoder = encoder

    async def run(self, asked: dict[str, Any]) -> None:
        """Runs one request and prints the times of its tokens."""
        times = await token_times(self._engine, self._encoder, tuple(asked["prompt"]), asked["new_tokens"])
        print(json.dumps({"id": asked["id"], "times": times}), flush=True)


async def _serve(runner: _Runner) -> None:
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while line := await lines.readline():
        task = asyncio.create_task(runner.run(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def main() -> None:
    """Loads the model with the service's defaults and answers until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-sequences", type=int, default=EngineSettings.max_sequences)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_language_model(asked.model, revision=None, device=torch.device("cpu"), dtype="auto")
    built = build_engine(loaded, EngineSettings(asked.max_sequences), EngineMetrics(CollectorRegistry()))
    gc.collect()
    gc.freeze()  # as services do
    built.engine.start()
    uvloop.run(_serve(_Runner(built.engine, PromptEncoder(loaded.tokenizer, built.context_tokens))))
    built.engine.close()


if __name__ == "__main__":
    main()
