"""Runs the engine of the text service in its own process, without a server: requests are lines of JSON.

The difference between a service and this process is the cost of serving.
"""

import argparse
import asyncio
import gc
import json
import sys
from typing import Any

import torch
import uvloop

from benchmarks.bare_engine import BareEngine, started
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.requests.request import GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import load_language_model


async def _run(engine: BareEngine, asked: dict[str, Any]) -> None:
    """Runs one request and prints the arrival times of its tokens."""
    stopping = StoppingCriteria(max_new_tokens=asked["new_tokens"])
    times = await engine.token_times(GenerationRequest(tuple(asked["prompt"]), SamplingParameters(), stopping))
    print(json.dumps({"id": asked["id"], "times": times}), flush=True)


async def _serve(engine: BareEngine) -> None:
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while line := await lines.readline():
        task = asyncio.create_task(_run(engine, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def main() -> None:
    """Loads the model with the service's defaults, and answers requests until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-sequences", type=int, default=EngineSettings.max_sequences)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_language_model(asked.model, revision=None, device=torch.device("cpu"), dtype="auto")
    with started(loaded, EngineSettings(asked.max_sequences)) as built:
        gc.collect()
        gc.freeze()  # as services do after loading
        uvloop.run(_serve(BareEngine(built.engine, PromptEncoder(loaded.tokenizer, built.context_tokens))))


if __name__ == "__main__":
    main()
