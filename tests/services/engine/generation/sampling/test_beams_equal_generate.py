import asyncio
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from services.engine.generation.requests.request import BeamParameters, EarlyStopping, FinishReason
from services.engine.loading import LoadedModel, load_language_model
from tests.services.bench import Bench, BenchMaker, Result, real_bench
from tests.services.dice import dice
from tests.services.engine.generation.test_engine_equals_generate import prompts
from tests.tiny.language_models import write_checkpoint

ARCHITECTURES = ["llama", "gemma3", "gpt2", "mixtral"]
DRAWN = 4
"""Searches of each architecture that a run tries; all, if it is 16."""
EARLY: dict[EarlyStopping, bool | str] = {
    EarlyStopping.FIRST: True,
    EarlyStopping.LIKELY: False,
    EarlyStopping.NEVER: "never",
}
OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"repetition_penalty": 1.3, "no_repeat_ngram_size": 3}, {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3}),
    (
        {"bad_words": ((9,), (10, 11)), "logit_bias": ((70, 0.5), (71, -2.0))},
        {"bad_words_ids": [[9], [10, 11]], "sequence_bias": [[[70], 0.5], [[71], -2.0]]},
    ),
]


def generate(model: PreTrainedModel, prompt: list[int], ends: list[int], count: int, **options: Any) -> list[list[int]]:
    """Returns the outputs that transformers alone finds, each up to its end."""
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        found = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            eos_token_id=ends or None,
            pad_token_id=0,
            num_return_sequences=count,
            **{"do_sample": False, **options},
        )
    rows = [[token for token in row if token >= 0] for row in found[:, len(prompt) :].tolist()]
    return [row[: next((i + 1 for i, token in enumerate(row) if token in ends), len(row))] for row in rows]


def searches(count: int, *, seed: int = 0) -> Iterator[tuple[list[int], dict[str, Any], dict[str, Any]]]:
    """Yields prompts, what to ask our engine, and what to ask `generate`, drawn from all that can be combined."""
    source = random.Random(seed)
    for i in range(count):
        beam_count, early = 2 + i % 7, source.choice(list(EarlyStopping))
        penalty = source.choice([-1.0, 0.0, 0.6, 1.0, 2.0])
        ends = source.choice([[], [2], [2, 50], [7, *range(100, 140)], [*range(60, 90)]])
        most = source.choice([1, 2, 5, 20, 40])
        least = source.choice([0, min(4, most)]) if ends else 0
        ours, theirs = source.choice(OPTIONS)
        candidates = source.randint(1, beam_count)
        prompt = [source.randrange(6, 320) for _ in range(source.choice([1, 3, 15, 16, 17, 40]))]
        yield (
            prompt,
            {
                "beams": BeamParameters(beam_count, penalty, early), "candidate_count": candidates,
                "max_new_tokens": most, "min_new_tokens": least, "end_token_ids": frozenset(ends), **ours,
            },
            {
                "num_beams": beam_count, "length_penalty": penalty, "early_stopping": EARLY[early],
                "count": candidates, "max_new_tokens": most, "min_new_tokens": least or None, "ends": ends, **theirs,
            },
        )  # fmt: skip


def found(result: Result) -> list[list[int]]:
    return [list(candidate.token_ids) for candidate in result.candidates]


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_outputs_are_those_of_generate_in_its_order(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, name)
    own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    loaded = load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="auto")
    bench = real_bench(loaded, prefill_tokens=32)
    try:
        for prompt, ours, theirs in dice().sample(list(searches(16, seed=ARCHITECTURES.index(name))), DRAWN):
            result = await bench.run(prompt, **ours)
            assert found(result) == generate(own, prompt, **theirs), (ours, len(prompt))
            assert result.completed.output_token_count == sum(map(len, found(result)))
            assert bench.idle
    finally:
        bench.engine.close()


async def test_beside_streams_and_other_searches_they_are_the_same(
    real: BenchMaker, own_llama: PreTrainedModel
) -> None:
    bench = real(max_sequences=24, prefill_tokens=16)
    asked = list(searches(8, seed=5))
    streams = [(prompt, {"temperature": 1.0, "seed": i}) for i, prompt in enumerate(prompts(4, seed=6))]
    alone = [(await bench.run(prompt, max_new_tokens=40, **fields)).ids for prompt, fields in streams]
    results = await asyncio.gather(
        *(bench.run(prompt, **ours) for prompt, ours, _ in asked),
        *(bench.run(prompt, max_new_tokens=40, **fields) for prompt, fields in streams),
    )
    assert [found(result) for result in results[:8]] == [
        generate(own_llama, prompt, **theirs) for prompt, _, theirs in asked
    ]
    assert [result.ids for result in results[8:]] == alone


@pytest.fixture(scope="module")
def long_searches(own_llama: PreTrainedModel) -> list[tuple[list[int], list[list[int]]]]:
    """Prompts, and two outputs of 60 tokens that transformers alone finds with four beams."""
    options: dict[str, Any] = {"num_beams": 4, "max_new_tokens": 60, "ends": []}
    return [(each, generate(own_llama, each, count=2, **options)) for each in prompts(4, longest=30, seed=7)]


@pytest.mark.parametrize("share", [True, False], ids=["prefix cache", "no prefix cache"])
async def test_a_search_that_is_put_back_is_computed_anew_as_a_whole(
    real: BenchMaker, long_searches: list[tuple[list[int], list[list[int]]]], share: bool
) -> None:
    bench = real(pages=26, max_sequences=16, prefill_tokens=24, share=share)
    streams = prompts(4, longest=30, seed=8)
    alone = [(await bench.run(prompt, max_new_tokens=70)).ids for prompt in streams]
    plain = {"max_new_tokens": 70}
    searching = {"beams": BeamParameters(4), "candidate_count": 2, "max_new_tokens": 60, "logprob_count": 1}
    # Two streams are older than the searches, two are younger.
    results = await bench.run_all(
        *((prompt, plain) for prompt in streams[:2]),
        *((prompt, searching) for prompt, _ in long_searches),
        *((prompt, plain) for prompt in streams[2:]),
    )
    assert bench.metric("preemptions_total") > 0
    assert [found(result) for result in results[2:6]] == [outputs for _, outputs in long_searches]
    assert [result.ids for result in results[:2] + results[6:]] == alone
    assert bench.idle


async def test_reordering_computes_nothing_twice(real: BenchMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = real()
    rows: list[int] = []
    run = bench.runner.run
    monkeypatch.setattr(bench.runner, "run", lambda asked: rows.append(sum(r.token_count for r in asked)) or run(asked))
    await bench.run([*range(6, 46)], beams=BeamParameters(5), max_new_tokens=12)
    assert rows == [40] + [5] * 11


async def test_how_each_output_ended_is_told(real: BenchMaker, llama: LoadedModel) -> None:
    bench, fields = real(), {"beams": BeamParameters(6), "candidate_count": 6, "max_new_tokens": 12}
    plain = await bench.run([9, 33, 120], **fields)
    ends = {candidate.token_ids[10] for candidate in plain.candidates}
    result = await bench.run([9, 33, 120], end_token_ids=frozenset(ends), **fields)
    reasons = [finish.reason for finish in result.completed.finishes]
    assert set(reasons) == {FinishReason.END_OF_SEQUENCE, FinishReason.MAX_NEW_TOKENS}
    for candidate, finish in zip(result.candidates, result.completed.finishes, strict=True):
        ids = list(candidate.token_ids)
        ended = finish.reason is FinishReason.END_OF_SEQUENCE
        assert (finish.token_id, len(ids) == 12 and ids[-1] not in ends) == (ids[-1] if ended else None, not ended)
        text = llama.tokenizer.decode([9, 33, 120, *ids[: len(ids) - ended]])
        assert candidate.text == text[len(llama.tokenizer.decode([9, 33, 120])) :]


async def test_stop_strings_end_beams_as_they_end_those_of_generate(
    real: BenchMaker, own_llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    bench, ended = real(), 0
    for prompt in prompts(6, longest=20, seed=11):
        plain = await bench.run(prompt, beams=BeamParameters(4), candidate_count=4, max_new_tokens=24)
        stop = next(text for text in re.findall("[!-~]{1,2}", plain.candidates[1].text[4:]))
        result = await bench.run(
            prompt, beams=BeamParameters(4), candidate_count=4, max_new_tokens=24, stop_strings=(stop,)
        )
        theirs = generate(
            own_llama, prompt, [], 4, num_beams=4, max_new_tokens=24, stop_strings=[stop], tokenizer=tokenizer
        )
        assert found(result) == theirs
        for candidate, finish in zip(result.candidates, result.completed.finishes, strict=True):
            assert stop not in candidate.text
            ended += finish.stop_string == stop
    assert ended > 4


async def test_log_probabilities_are_those_of_each_outputs_own_tokens(
    real: BenchMaker, own_llama: PreTrainedModel
) -> None:
    prompt = [9, 33, 120, 47, 15]
    result = await real().run(
        prompt, beams=BeamParameters(4), candidate_count=4, max_new_tokens=15, logprob_count=3, repetition_penalty=1.5
    )
    for candidate in result.candidates:
        ids = list(candidate.token_ids)
        with torch.inference_mode():
            logits = own_llama(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        expected = torch.log_softmax(logits, dim=-1)
        assert [entry.token_id for entry in candidate.logprobs] == ids
        for line, entry in zip(expected, candidate.logprobs, strict=True):
            assert entry.logprob == pytest.approx(float(line[entry.token_id]), abs=1e-4)
            assert entry.rank == int((line > line[entry.token_id] + 1e-6).sum()) + 1
            assert [other.token_id for other in entry.alternatives] == line.topk(3).indices.tolist()


async def test_what_was_held_before_an_interruption_is_not_told_again(real: BenchMaker) -> None:
    bench = real()
    fields: dict[str, Any] = {
        "beams": BeamParameters(3), "candidate_count": 3, "max_new_tokens": 10, "logprob_count": 2,
    }  # fmt: skip
    whole = await bench.run([9, 33], **fields)
    for cuts in ((0, 0, 0), (10, 0, 3), (10, 10, 10), (1, 9, 5)):
        held = tuple(tuple(ids[:cut]) for ids, cut in zip(found(whole), cuts, strict=True))
        rest = await bench.run([9, 33], delivered_each=held, **fields)
        assert [[*before, *ids] for before, ids in zip(held, found(rest), strict=True)] == found(whole)
        for candidate, before, cut in zip(rest.candidates, whole.candidates, cuts, strict=True):
            assert before.text.endswith(candidate.text)
            assert (candidate.text == "") == (cut == 10)
            assert candidate.logprobs == before.logprobs[cut:]
        assert rest.completed.finishes == whole.completed.finishes
        assert rest.completed.output_token_count == whole.completed.output_token_count == 30
    assert bench.idle


async def test_a_burst_at_the_end_is_no_slow_reader(real: BenchMaker) -> None:
    bench: Bench = real()
    bench.engine._unread_tokens = 8
    result = await bench.run([9, 33], beams=BeamParameters(4), candidate_count=4, max_new_tokens=20)
    assert [len(ids) for ids in found(result)] == [20] * 4
