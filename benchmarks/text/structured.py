"""`python -m benchmarks.text.structured`: the cost of structured output in tokens per second.

Runs the same streams with and without a structure, by turns, in one process. All streams generate the full number of
tokens: the structures allow it, and the random model has no end-of-sequence token.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.bare_engine import BareEngine, started
from benchmarks.options import one_of
from benchmarks.process import ROOT
from benchmarks.tables import Rows
from benchmarks.text.checkpoint import SHAPES, checkpoint
from benchmarks.text.workload import Workload
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.requests.request import GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import load_language_model
from services.engine.structure.format import StructureFormat, StructureKind
from services.engine.structure.grammar import grammar_of
from services.engine.structure.structure import Structure
from services.engine.structure.vocabulary import Vocabulary

_PROMPT_TOKENS = 32
_PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 40}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
_WORDS = "( [a-z]{1,9})*"
"""A regular expression that may end after each letter."""


@dataclass(frozen=True)
class Case:
    """Concurrent streams, the first few of which are constrained by a structure."""

    name: str
    structure: Structure
    structured: int


def cases(vocabulary: Vocabulary, streams: int, new_tokens: int) -> list[Case]:
    """Returns the cases to measure."""
    people = json.dumps({"type": "array", "items": _PERSON, "minItems": new_tokens})
    json_schema = _compiled(StructureKind.JSON_SCHEMA, people, vocabulary)
    words = _compiled(StructureKind.REGEX, _WORDS, vocabulary)
    return [
        Case("one by a JSON Schema", json_schema, 1),
        Case("all by a JSON Schema", json_schema, streams),
        Case("all by a regular expression", words, streams),
    ]


def _compiled(kind: StructureKind, text: str, vocabulary: Vocabulary) -> Structure:
    asked = StructureFormat(kind, (text,))
    return Structure(asked.field, grammar_of(asked), vocabulary, 0)


class Bench:
    """The engine of a text service in process."""

    def __init__(self, engine: BareEngine, streams: int, new_tokens: int) -> None:
        self._engine, self._streams, self._new_tokens = engine, streams, new_tokens
        self._workload = Workload("structured", _PROMPT_TOKENS, new_tokens)

    async def run(self, case: Case, turn: int, *, structured: bool) -> tuple[float, float]:
        """Returns tokens per second while all streams run, and CPU seconds per token."""
        held, cpu = case.structured if structured else 0, time.process_time()
        one_each = [self._times(turn, i, case.structure if i < held else None) for i in range(self._streams)]
        times = await asyncio.gather(*one_each)
        assert {len(each) for each in times} == {self._new_tokens}
        begin, end = max(each[0] for each in times), min(each[-1] for each in times)
        rate = sum(begin < at <= end for each in times for at in each) / (end - begin)
        return rate, (time.process_time() - cpu) / (self._streams * self._new_tokens)

    async def _times(self, turn: int, stream: int, structure: Structure | None) -> list[float]:
        prompt = self._workload.prompt(turn, stream).token_ids
        stopping = StoppingCriteria(max_new_tokens=self._new_tokens)
        return await self._engine.token_times(
            GenerationRequest(prompt, SamplingParameters(), stopping, structure=structure)
        )


async def measure(bench: Bench, found: list[Case], turns: int) -> None:
    """Runs each case with and without its structure by turns, and prints medians."""
    heads = "tokens/s without", "with", "times", "CPU time of a token without, µs", "with", "times"
    table = Rows("streams with a structure", *heads)
    for case in found:
        free: list[tuple[float, float]] = []
        held: list[tuple[float, float]] = []
        for turn in range(turns + 1):  # the first warms up
            free.append(await bench.run(case, turn, structured=False))
            held.append(await bench.run(case, turn, structured=True))
        (rate, cpu), (held_rate, held_cpu) = (map(median, zip(*runs[1:], strict=True)) for runs in (free, held))
        pairs = list(zip(free[1:], held[1:], strict=True))
        rates, cpus = ([after[i] / before[i] for before, after in pairs] for i in (0, 1))
        table.add(
            case.name,
            *(f"{rate:,.0f}", f"{held_rate:,.0f}", _spread(rates)),
            *(f"{1e6 * cpu:.1f}", f"{1e6 * held_cpu:.1f}", _spread(cpus)),
        )


def _spread(values: list[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def main(
    shape: Annotated[str, one_of(SHAPES, help="Model.")] = "wide",
    streams: Annotated[int, typer.Option(min=1, help="Streams at a time.")] = 16,
    new_tokens: Annotated[int, typer.Option(min=8, help="Tokens of each.")] = 200,
    turns: Annotated[int, typer.Option(min=1, help="With and without, each.")] = 5,
    cache: Annotated[Path, typer.Option(help="Folder for the model.")] = ROOT / ".bench",
) -> None:
    """Measures on one thread and prints a table."""
    torch.set_num_threads(1)
    folder = checkpoint(SHAPES[shape], cache)
    loaded = load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="auto")
    vocabulary = Vocabulary(loaded.tokenizer)
    with started(loaded, EngineSettings(max_sequences=streams)) as built:
        engine = BareEngine(built.engine, PromptEncoder(loaded.tokenizer, built.context_tokens))
        bench = Bench(engine, streams, new_tokens)
        asyncio.run(measure(bench, cases(vocabulary, streams, new_tokens), turns))


if __name__ == "__main__":
    typer.run(main)
