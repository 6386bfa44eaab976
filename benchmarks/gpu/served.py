"""`python -m benchmarks.gpu.served`: the text service on a GPU, called over gRPC, against its engine in process."""

import asyncio
import gc
import json
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
import uvloop
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import sensorium
from benchmarks.bare_engine import BareEngine, started
from benchmarks.gpu.runner import prompts
from benchmarks.gpu.shapes import SHAPES, make
from benchmarks.gpu.steady import Steady, steady
from benchmarks.options import one_of
from benchmarks.running import Running, Server
from sensorium.v1.common_pb2 import GenerationParameters, TokenIds
from sensorium.v1.text_pb2 import StreamGenerateRequest
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.requests.request import GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import load_language_model

_CACHE_MIB, _CHUNK = 12 << 10, 8192
_GPU = torch.device("cuda:0")


def main(
    shape: Annotated[str, one_of(SHAPES, help="Model.")] = "8B",
    rows: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 32,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")] = 1024,
    steps: Annotated[int, typer.Option(min=2, help="Tokens decoded for each.")] = 384,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Measures the token rate while all rows decode: prints the median, and all rounds."""
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
    """Writes a checkpoint with random weights and a tokenizer in which each token is a word."""
    loaded = make(shape, _GPU)
    loaded.model.save_pretrained(folder)
    words = {f"w{i}": i for i in range(loaded.vocabulary_size)}
    tokenizer = Tokenizer(models.WordLevel(words, "w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def _in_process(folder: str, asked: list[list[int]], steps: int, rounds: int) -> list[Steady]:
    loaded = load_language_model(folder, revision=None, device=_GPU, dtype="auto")
    settings = EngineSettings(len(asked), _CHUNK, cache_bytes=_CACHE_MIB << 20, share_prefixes=False)
    with started(loaded, settings) as built:
        engine = BareEngine(built.engine, PromptEncoder(loaded.tokenizer, built.context_tokens))
        return [uvloop.run(_all_inside(engine, asked, steps)) for _ in range(rounds)]


async def _all_inside(engine: BareEngine, asked: list[list[int]], steps: int) -> Steady:
    stopping = StoppingCriteria(max_new_tokens=steps)
    requests = [GenerationRequest(tuple(prompt), SamplingParameters(), stopping) for prompt in asked]
    return steady(await asyncio.gather(*map(engine.token_times, requests)))


def _served(folder: Path, asked: list[list[int]], steps: int, rounds: int) -> list[Steady]:
    sizes = {"max-sequences": len(asked), "cache-mib": _CACHE_MIB, "prefill-tokens": _CHUNK}
    options = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
    model = ("--model", str(folder), "--device", str(_GPU), "--no-prefix-cache")
    with Running(folder) as running:
        server = running.serve("services.text", *model, *options, core=None)
        return [uvloop.run(_all_outside(server, asked, steps)) for _ in range(rounds)]


async def _all_outside(server: Server, asked: list[list[int]], steps: int) -> Steady:
    async with sensorium.AsyncClient(server.address, retry=None) as client:

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
