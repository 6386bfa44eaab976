"""`python -m benchmarks.gpu.served`: the text service on a GPU, called over gRPC, beside its engine in process."""

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
import uvloop
from prometheus_client import CollectorRegistry
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import sensorium
from benchmarks.gpu.runner import prompts
from benchmarks.gpu.shapes import make
from benchmarks.gpu.steady import Steady, steady
from benchmarks.text.process import Process, free_port
from benchmarks.text.system import serves
from sensorium.v1.common_pb2 import GenerationParameters, TokenIds
from sensorium.v1.text_pb2 import StreamGenerateRequest
from services.engine.generation.building.build import BuiltEngine, build_engine
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.output.detokenizer import IncrementalDetokenizer
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.requests.request import Delta, GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import load_language_model
from services.engine.metrics import EngineMetrics

_CACHE_MIB, _CHUNK = 12 << 10, 8192
_GPU = torch.device("cuda:0")


def main(
    shape: Annotated[str, typer.Option()] = "8B",
    rows: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 32,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")] = 1024,
    steps: Annotated[int, typer.Option(min=2, help="Tokens decoded for each.")] = 384,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Measures the rate at which tokens come while all rows decode: median, and all rounds."""
    asked = prompts(rows, prompt, 100_000)
    with TemporaryDirectory() as folder:
        _save(shape, Path(folder))
        inside = _in_process(folder, asked, steps, rounds)
        gc.collect()
        torch.cuda.empty_cache()
        outside = _served(Path(folder), asked, steps, rounds)
    rates = {
        name: [each.tokens_per_second for each in found]
        for name, found in (("in process", inside), ("served", outside))
    }
    medians = {name: median(found) for name, found in rates.items()}
    share = medians["served"] / medians["in process"]
    for name, found in rates.items():
        each = ", ".join(f"{rate:,.0f}" for rate in found)
        print(f"{shape}, {rows} rows, {name}: {medians[name]:,.0f} tokens/s ({each})")
    print(f"served ÷ in process: {share:.1%}")
    if json_file is not None:
        json_file.write_text(json.dumps({"shape": shape, "rows": rows, "rates": rates, "share": share}) + "\n")


def _save(shape: str, folder: Path) -> None:
    """Writes a checkpoint with random weights, each of whose tokens is a word."""
    loaded = make(shape, _GPU)
    loaded.model.save_pretrained(folder)
    words = {f"w{i}": i for i in range(loaded.vocabulary_size)}
    tokenizer = Tokenizer(models.WordLevel(words, "w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def _in_process(folder: str, asked: list[list[int]], steps: int, rounds: int) -> list[Steady]:
    loaded = load_language_model(folder, revision=None, device=_GPU, dtype="auto")
    settings = EngineSettings(len(asked), _CHUNK, cache_bytes=_CACHE_MIB << 20, share_prefixes=False)
    built = build_engine(loaded, settings, EngineMetrics(CollectorRegistry()))
    built.engine.start()
    encoder = PromptEncoder(loaded.tokenizer, built.context_tokens)
    try:
        return [uvloop.run(_all_inside(built, encoder, asked, steps)) for _ in range(rounds)]
    finally:
        built.engine.close()


async def _all_inside(built: BuiltEngine, encoder: PromptEncoder, asked: list[list[int]], steps: int) -> Steady:
    async def one(prompt: list[int]) -> list[float]:
        stopping = StoppingCriteria(max_new_tokens=steps)
        detokenizer = IncrementalDetokenizer(encoder, tuple(prompt), skip_special_tokens=True)
        output = OutputBuilder(detokenizer, stopping, TokenTexts(encoder))
        request = GenerationRequest(tuple(prompt), SamplingParameters(), stopping)
        return [
            time.perf_counter()
            async for event in built.engine.submit(request, output)
            if isinstance(event, Delta)
            for _ in event.token_ids
        ]

    return steady(await asyncio.gather(*map(one, asked)))


def _served(folder: Path, asked: list[list[int]], steps: int, rounds: int) -> list[Steady]:
    port = free_port()
    sizes: dict[str, Any] = {"max-sequences": len(asked), "cache-mib": _CACHE_MIB, "prefill-tokens": _CHUNK}
    options = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
    command = [
        sys.executable,
        "-m",
        "services.text",
        "--model",
        str(folder),
        "--device",
        str(_GPU),
        "--port",
        str(port),
    ]
    command += ["--metrics-port", str(free_port()), "--no-prefix-cache", *options]
    process = Process(command, folder / "service.log", core=None)
    try:
        process.wait(lambda: serves(port))
        return [uvloop.run(_all_outside(port, asked, steps)) for _ in range(rounds)]
    finally:
        process.stop()


async def _all_outside(port: int, asked: list[list[int]], steps: int) -> Steady:
    async with sensorium.AsyncClient(f"127.0.0.1:{port}", retry=None) as client:

        async def one(prompt: list[int]) -> list[float]:
            request = StreamGenerateRequest(
                prompt_token_ids=TokenIds(ids=prompt),
                parameters=GenerationParameters(temperature=0.0, max_new_tokens=steps, ignore_eos=True),
            )
            return [
                time.perf_counter()
                async for event in client.text.stream_generate(request)
                for _ in event.delta.token_ids
            ]

        return steady(await asyncio.gather(*map(one, asked)))


if __name__ == "__main__":
    typer.run(main)
