"""`python -m benchmarks.speculation`: gain and cost of prompt lookup decoding, measured with and without by turns.

Greedy outputs repeat earlier text; sampled ones hardly do. A third case measures how one request with lookup affects
others without. Uses the embedded chat model, or with `--device cuda:0 --shape 1B` one with random weights, whose
greedy outputs end up repeating themselves too.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.bare_engine import BareEngine, started
from benchmarks.gpu.asked import Letters
from benchmarks.gpu.runner import prompts as random_tokens
from benchmarks.gpu.shapes import SHAPES, make
from benchmarks.options import one_of
from benchmarks.process import ROOT
from benchmarks.tables import Rows
from services.engine.generation.attention.backend import register
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.requests.request import (
    Completed,
    Delta,
    GenerationRequest,
    PromptLookup,
    SamplingParameters,
    StoppingCriteria,
)
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import load_language_model

MODEL = ROOT / "models/chat"
_DRAWN = 1.5
"""A temperature at which outputs hardly repeat themselves."""


@dataclass(frozen=True)
class Case:
    """Requests that run together. In runs with lookup, the first `asking` of them ask for it."""

    name: str
    rows: int
    asking: int
    temperature: float


CASES = (
    Case("repeats, alone", 1, 1, 0.0),
    Case("repeats, 8 at a time", 8, 8, 0.0),
    Case("does not repeat, alone", 1, 1, _DRAWN),
    Case("does not repeat, 8 at a time", 8, 8, _DRAWN),
    Case("one repeats beside 7 that do not ask", 8, 1, 0.0),
)


@dataclass(frozen=True)
class Run:
    """The result of one run of a case."""

    tokens_per_second: float
    cpu_seconds: float
    neighbours_per_second: float
    """Tokens per second of each request without lookup, while it ran; 0 if there is none."""
    proposed: int
    accepted: int
    tokens: tuple[tuple[int, ...], ...]


class Bench:
    """The engine of a text service in process."""

    def __init__(self, engine: BareEngine) -> None:
        self._engine = engine

    async def run(self, case: Case, prompts: list[list[int]], new_tokens: int, *, lookup: bool) -> Run:
        """Runs a case once."""
        began, cpu = time.perf_counter(), time.process_time()
        asks = [lookup and i < case.asking for i in range(case.rows)]
        found = await asyncio.gather(*(self._one(prompts[i], case, new_tokens, i, asks[i]) for i in range(case.rows)))
        wall, ends = time.perf_counter() - began, [completed for _, completed, _ in found]
        beside = [new_tokens / seconds for i, (_, _, seconds) in enumerate(found) if i >= case.asking]
        return Run(
            case.rows * new_tokens / wall,
            time.process_time() - cpu,
            median(beside) if beside else 0.0,
            sum(end.proposed_token_count for end in ends),
            sum(end.accepted_token_count for end in ends),
            tuple(ids for ids, _, _ in found),
        )

    async def _one(
        self, prompt: list[int], case: Case, new_tokens: int, seed: int, lookup: bool
    ) -> tuple[tuple[int, ...], Completed, float]:
        began, ids = time.perf_counter(), list[int]()
        stopping = StoppingCriteria(max_new_tokens=new_tokens)
        sampling = SamplingParameters(temperature=case.temperature, seed=seed)
        request = GenerationRequest(tuple(prompt), sampling, stopping, lookup=PromptLookup() if lookup else None)
        async for event in self._engine.submit(request):
            if isinstance(event, Completed):
                return tuple(ids), event, time.perf_counter() - began
            if isinstance(event, Delta):
                ids += event.token_ids
        raise AssertionError("a stream ends with Completed, or raises")


async def measure(bench: Bench, prompts: list[list[int]], rounds: int, new_tokens: int, *, exact: bool) -> None:
    """Runs every case with and without lookup by turns, and prints medians. `exact` requires the same tokens."""
    table = Rows(
        "case", "tokens/s without", "with", "times", "CPU time, times", "accepted of proposed", "neighbours, times",
        "outputs alike",
    )  # fmt: skip
    for case in CASES:
        pairs: list[tuple[Run, Run]] = []
        for _ in range(rounds + 1):  # the first warms up
            pairs.append(
                (
                    await bench.run(case, prompts, new_tokens, lookup=False),
                    await bench.run(case, prompts, new_tokens, lookup=True),
                )
            )
        assert not exact or all(one.tokens == other.tokens for one, other in pairs), "lookup has changed tokens"
        table.add(case.name, *_told(pairs[1:]))


def _told(pairs: list[tuple[Run, Run]]) -> list[str]:
    plain, wide = (median(run.tokens_per_second for run in runs) for runs in zip(*pairs, strict=True))
    faster = median(other.tokens_per_second / one.tokens_per_second for one, other in pairs)
    cpu = median(other.cpu_seconds / one.cpu_seconds for one, other in pairs)
    proposed, accepted = sum(run.proposed for _, run in pairs), sum(run.accepted for _, run in pairs)
    share = f"{accepted / proposed:.0%} of {proposed // len(pairs)}" if proposed else "none proposed"
    beside = [b.neighbours_per_second / a.neighbours_per_second for a, b in pairs if a.neighbours_per_second]
    told = f"{median(beside):.2f}" if beside else "–"
    alike = [a == b for one, other in pairs for a, b in zip(one.tokens, other.tokens, strict=True)]
    rates = [f"{plain:.0f}", f"{wide:.0f}", f"{faster:.2f}", f"{cpu:.2f}"]
    return [*rates, share, told, f"{sum(alike) / len(alike):.0%}"]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each case, with and without.")] = 7,
    new_tokens: Annotated[int, typer.Option(min=8, help="Tokens of each request.")] = 160,
    dtype: Annotated[
        str, typer.Option(help="float32, in which tokens are compared on a CPU, or bfloat16.")
    ] = "float32",
    device: Annotated[str, typer.Option(help="cpu, or cuda:0.")] = "cpu",
    shape: Annotated[str | None, one_of(SHAPES, help="Instead, one with random weights in bfloat16.")] = None,
    piece: Annotated[int, typer.Option(min=8, help="Tokens that each prompt has twice.")] = 48,
) -> None:
    """Measures the cases by turns and prints a table."""
    torch.set_num_threads(1)
    register()
    place = torch.device(device)
    loaded = make(shape, place) if shape else load_language_model(str(MODEL), revision=None, device=place, dtype=dtype)
    with started(loaded, EngineSettings()) as built:
        if shape:
            decoder, pieces = Letters(), random_tokens(8, piece, loaded.vocabulary_size)
        else:
            decoder = PromptEncoder(loaded.tokenizer, built.context_tokens)
            texts = [json.loads(line) for line in (MODEL / "held_out.jsonl").read_text().splitlines()[:8]]
            pieces = [decoder.encode(json.dumps(text), field="prompt")[:piece] for text in texts]
        bench, exact = Bench(BareEngine(built.engine, decoder)), device == "cpu" and not shape
        asyncio.run(measure(bench, [2 * each for each in pieces], rounds, new_tokens, exact=exact))


if __name__ == "__main__":
    typer.run(main)
