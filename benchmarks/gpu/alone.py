"""Times recorded steps alone, replayed one after another, so that the GPU waits for nothing else."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from transformers import PretrainedConfig

from benchmarks.gpu.asked import Letters
from benchmarks.gpu.ceilings import Ceilings, Work, times_of
from benchmarks.gpu.kernels import KernelTime, kernels_of
from benchmarks.gpu.portions import Portions
from benchmarks.gpu.runner import read
from services.engine.generation.building.parts import Parts
from services.engine.generation.group import SequenceGroup
from services.engine.generation.output.detokenizer import IncrementalDetokenizer
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.recorded.replay import Replay, ReplayedStep
from services.engine.generation.requests.request import GenerationRequest
from services.engine.generation.running.runner import ModelRunner, Recorded
from services.engine.generation.sampling.device_choice import takes
from services.engine.generation.sequence import Row, Sequence

_ROUNDS, _TIMES = 12, 8
_LAUNCHED_ROUNDS, _LAUNCHED_TIMES = 2, 48
"""For steps launched as by the engine. In each round, the first step finds an idle GPU."""


@dataclass(frozen=True)
class Alone:
    """The times of one recorded step."""

    kind: str
    """"decoding", or "reading" for prompts."""
    rows: int
    tokens: int
    """Of each row."""
    before: int
    """Tokens of each row that are in the cache already."""
    least: float
    """Seconds of a replay: the fastest round."""
    middle: float
    allowed: float
    """Seconds of the roofline: the time that memory or products take at least."""
    launched: float = 0.0
    """Seconds of such a step launched behind another, including all transfers: the fastest round. For prompts: from an
    idle GPU until the host has the tokens, so it includes filling in the prompt.
    """
    kernels: list[KernelTime] = field(default_factory=list[KernelTime])

    @property
    def name(self) -> str:
        """For tables."""
        if self.kind == "decoding":
            return f"{self.rows} {'row' if self.rows == 1 else 'rows'} at {self.before}"
        return f"{self.rows} x {self.tokens} of a prompt behind {self.before}"


@dataclass(frozen=True)
class Bench:
    """A model on a GPU, with the rooflines of its steps."""

    parts: Parts
    config: PretrainedConfig
    work: Work
    ceilings: Ceilings
    chunk: int
    """Most prompt tokens of a step."""
    narrow: bool
    """Whether its weights have 8 bits."""

    @torch.inference_mode()
    def alone(self, requests: list[GenerationRequest]) -> list[Alone]:
        """Returns the step that decodes all rows after their prompts, and the longest step that reads their last prompt
        tokens.

        Steps without a recording are left out.
        """
        with self._read(requests) as (recorded, sequences):
            if recorded is None:
                return []
            rows, prompt = len(requests), sequences[0].prompt_count
            found: list[Alone] = []
            if replay := _decoding(recorded, sequences):
                allowed = self.work.decode_seconds(self.ceilings, rows, prompt + 1)
                launched = _launched_seconds(recorded, sequences)
                found.append(Alone("decoding", rows, 1, prompt, *_timed(replay.run), allowed, launched))
            tokens = min(max((shape.size for shape in recorded.reading_shapes), default=0) // rows, prompt)
            if tokens > 1 and (replay := _reading(recorded, sequences, tokens)):
                allowed = self.work.reading_seconds(self.ceilings, rows, prompt - tokens, tokens)
                waited = _waited_seconds(recorded, [Row(each, tokens) for each in sequences])
                found.append(Alone("reading", rows, tokens, prompt - tokens, *_timed(replay.run), allowed, waited))
            return found

    @torch.inference_mode()
    def with_kernels(self, step: Alone, requests: list[GenerationRequest]) -> Alone:
        """Returns one of these steps with the times of its kernels. The profiler may slow down later measurements."""
        with self._read(requests) as (recorded, sequences):
            assert recorded is not None
            if step.kind == "decoding":
                replay = _decoding(recorded, sequences)
                portions = Portions.decoding(self.config, step.rows, step.before + 1, narrow=self.narrow)
            else:
                replay = _reading(recorded, sequences, step.tokens)
                portions = Portions.reading(self.config, step.rows, step.before, step.tokens, narrow=self.narrow)
            assert replay is not None
            layers = self.config.num_hidden_layers
            return replace(step, kernels=kernels_of(replay.run, layers, portions, self.ceilings))

    @torch.inference_mode()
    def chosen_seconds(self, requests: list[GenerationRequest]) -> float:
        """Returns the least seconds of a decode step including the choice of tokens and their likelihoods.

        0 if the GPU cannot choose the tokens by itself.
        """
        with self._read(requests) as (recorded, sequences):
            if recorded is None or not all(map(takes, sequences)):
                return 0.0
            replay = _decoding(recorded, sequences)
            return 0.0 if replay is None or replay.waits else _timed(partial(_choose, replay))[0]

    @contextmanager
    def _read(self, requests: list[GenerationRequest]) -> Generator[tuple[Recorded | None, list[Sequence]]]:
        """Yields the recorded steps, and sequences that have read their prompts and have a token."""
        runner, pool = self.parts.runner, self.parts.pool
        assert isinstance(runner, ModelRunner)
        sequences = list(map(_sequence, requests))
        try:
            for each in sequences:
                assert pool.grow(each.pages, len(each.token_ids) + _LAUNCHED_ROUNDS * _LAUNCHED_TIMES + 1)
            read(self.parts, sequences, self.chunk)
            yield runner.recorded, sequences
        finally:
            for each in sequences:
                pool.release(each.pages)


def _sequence(request: GenerationRequest) -> Sequence:
    """Returns a sequence whose output stream nobody reads."""
    unread: Any = None
    detokenizer = IncrementalDetokenizer(Letters(), request.prompt_token_ids, skip_special_tokens=True)
    output = OutputBuilder(detokenizer, request.stopping, TokenTexts(Letters()), structure=request.structure)
    made = SequenceGroup(request, (output,), unread, 0.0).open()
    assert made is not None
    return made


def _decoding(recorded: Recorded, sequences: list[Sequence]) -> Replay | None:
    return _replayed(recorded, [Row(each, 1, decodes=True) for each in sequences])


def _launched_seconds(recorded: Recorded, sequences: list[Sequence]) -> float:
    """Returns the seconds of a decode step behind another, each launched as by the engine."""
    rows = [Row(each, 1, decodes=True) for each in sequences]
    steps = [recorded.launch(rows)]

    def launch() -> None:
        steps.append(recorded.launch(rows, steps.pop()))

    return min(times_of(launch, rounds=_LAUNCHED_ROUNDS, times=_LAUNCHED_TIMES, warm=0))


def _waited_seconds(recorded: Recorded, rows: list[Row[Sequence]]) -> float:
    """Returns the least seconds from launching a step of these rows on an idle GPU until its tokens are read."""
    times: list[float] = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        step = recorded.launch(rows)
        assert step is not None
        step.tokens()
        times.append(time.perf_counter() - began)
    return min(times)


def _reading(recorded: Recorded, sequences: list[Sequence], tokens: int) -> Replay | None:
    """Makes sequences read the last `tokens` tokens of their prompts again."""
    for each in sequences:
        del each.token_ids[each.prompt_count :]
        each.computed = each.prompt_count - tokens
    return _replayed(recorded, [Row(each, tokens) for each in sequences])


def _replayed(recorded: Recorded, rows: list[Row[Sequence]]) -> Replay | None:
    """Returns the recording with these rows filled in, or None if there is none for them."""
    step = recorded.launch(rows)
    return step.replay if isinstance(step, ReplayedStep) else None


def _choose(replay: Replay) -> None:
    replay.compute()
    replay.change()
    replay.tell(0.0)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    found = times_of(work, rounds=_ROUNDS, times=_TIMES)
    return min(found), median(found)
