"""Steps that are launched ahead give the same results as steps that are waited for, whatever their rows ask for."""

import asyncio
from typing import Any

import pytest

from services.engine.generation.requests.request import PromptLookup
from services.engine.generation.speculation import speculation
from tests.gpu.conftest import NEW_TOKENS, PROMPTS, Load, Start, all_of
from tests.services.bench import eventually
from tests.services.structures import regex


async def test_log_probabilities_come_with_tokens_of_steps_ahead(load: Load, start: Start) -> None:
    bench, waits = start(load("llama")), start(load("llama"))
    waits.launcher.launch = lambda *_: None
    ahead, own = list[bool](), bench.launcher.launch

    def launch(rows: Any, after: Any = None) -> Any:
        ahead.append(after is not None)
        return own(rows, after)

    bench.launcher.launch = launch
    kinds: list[dict[str, Any]] = [{"logprob_count": 5}, {}, {"logprob_count": 0, "repetition_penalty": 1.2}, {}]
    kinds = [kind | {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS} for kind in kinds]
    asked = list(zip(PROMPTS, kinds, strict=False))
    found, expected = [
        await asyncio.gather(*(each.run(prompt, **fields) for prompt, fields in asked)) for each in (bench, waits)
    ]
    for one, other in zip(found, expected, strict=True):
        assert one.ids == other.ids
        told = [
            [(entry.logprob, *(a.logprob for a in entry.alternatives)) for entry in each.logprobs]
            for each in (one, other)
        ]
        assert [len(each) for each in told[0]] == [len(each) for each in told[1]]
        for a, b in zip(*told, strict=True):
            assert a == pytest.approx(b, abs=1e-3)
    assert len(found[0].logprobs) == NEW_TOKENS
    assert sum(ahead) > NEW_TOKENS / 2


async def test_steps_are_launched_ahead(load: Load, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    bench, waits = start(load("llama")), start(load("llama"))
    assert "not recorded" not in caplog.text  # the log would say so of steps or of draws
    waits.launcher.launch = lambda *_: None
    launched, read = list[bool](), list[bool]()
    own = bench.launcher.launch

    def launch(rows: Any, after: Any = None) -> Any:
        launched.append(after is not None)
        step = own(rows, after)
        read.append(step is not None and any(row.token_count > 1 for row in rows))
        return step

    bench.launcher.launch = launch
    drawn, changed = (
        {"temperature": 0.9, "top_k": 40, "top_p": 0.95},
        {"repetition_penalty": 1.2, "logit_bias": ((9, 2.0),)},
    )
    withheld = {"frequency_penalty": 0.3, "stop_token_ids": frozenset({7}), "allowed_token_ids": tuple(range(200))}
    typical = {"temperature": 1.1, "typical_p": 0.7}
    for fields in ({}, drawn, {"temperature": 1.1}, typical, changed | withheld, drawn | changed):
        assert await all_of(bench, **fields) == await all_of(waits, **fields)
        assert sum(launched) > NEW_TOKENS / 2
        assert any(read)
        del launched[:], read[:]
    await eventually(lambda: bench.idle)


async def test_rows_that_the_host_follows_stop_no_steps_ahead(load: Load, start: Start) -> None:
    bench, waits = start(load("llama")), start(load("llama"))
    waits.launcher.launch = lambda *_: None
    waited, own = list[bool](), bench.launcher.launch

    def launch(rows: Any, after: Any = None) -> Any:
        step = own(rows, after)
        waited.append(after is not None and step is not None and step.rest is not None)
        return step

    bench.launcher.launch = launch
    words, drawn = {"structure": regex("([a-z]{2} ){200}")}, {"temperature": 0.9, "top_k": 40, "seed": 3}
    kinds: list[dict[str, Any]] = [
        {},
        words,
        words | drawn | {"repetition_penalty": 1.2, "bad_words": ((9,), (70, 71)), "logprob_count": 2},
        drawn,
        {"no_repeat_ngram_size": 1, "frequency_penalty": -0.5},
        {"no_repeat_ngram_size": 2} | drawn,
    ]
    found = [
        await asyncio.gather(
            *(one.run(prompt, max_new_tokens=NEW_TOKENS, **kind) for prompt, kind in zip(PROMPTS, kinds, strict=True))
        )
        for one in (bench, waits)
    ]
    assert [one.ids for one in found[0]] == [one.ids for one in found[1]]
    assert sum(waited) > NEW_TOKENS / 2
    await eventually(lambda: bench.idle)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3", "gpt2", "gpt_oss", "mixtral"])
async def test_proposed_tokens_are_checked_by_recorded_steps_and_change_nothing(
    name: str, load: Load, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speculation, "_ALLOWANCE", 100.0)  # whatever it costs
    bench = start(load(name))
    taken, own_run, own_launch = list[bool](), bench.runner.recorded.run, bench.launcher.launch

    def run(rows: Any, size: int) -> Any:
        taken.append(any(row.proposed for row in rows))
        return own_run(rows, size)

    def launch(rows: Any, after: Any = None) -> Any:
        step = own_launch(rows, after)
        taken.append(any(row.proposed for row in rows) and step is not None)
        return step

    bench.runner.recorded.run, bench.launcher.launch = run, launch
    lookup = PromptLookup(12, 2)
    for fields in ({}, {"temperature": 0.2, "top_k": 40, "seed": 3}, {"repetition_penalty": 0.8, "logprob_count": 0}):
        assert await all_of(bench, lookup=lookup, **fields) == await all_of(bench, **fields)
    assert sum(taken) > 2
    assert bench.metric("accepted_tokens_total") > 3
    await eventually(lambda: bench.idle)
