"""Summarize and Translate: each text becomes an engine request; if one text is invalid, none does."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument, QueueFull, Violation
from services.engine.generation.requests.request import GenerationRequest, OutputRules
from services.engine.generation.requests.resolution import (
    DeliveredTokens,
    GenerationLimits,
    GenerationOptions,
    ModelDefaults,
)
from services.engine.generation.sequence import Sequence
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Truncation
from services.engine.language.translation import Frame, Pairs
from services.engine.structure.format import StructureFormat, StructureKind
from services.generation.generation_threads import GenerationThreads
from services.generation.generator import TextGenerator
from services.generation.generator_parts import GeneratorParts
from services.text.text_to_text.ask import TextsAsk
from services.text.text_to_text.batches import defaults_in
from services.text.text_to_text.reading import EncoderReader
from services.text.text_to_text.summarize import TextSummarizer
from services.text.text_to_text.translate import TextTranslator
from tests.services.bench import Bench, BenchMaker, eventually, read

LIMITS = GenerationLimits(context_tokens=64, vocabulary_size=320, source_tokens=32, source_vocabulary_size=320)
DEFAULTS = ModelDefaults(decoder_start_ids=(2,), max_new_tokens=6)
OWN = Frame(prefix="summarize: ", last_ids=(2,), parameters={"max_length": 9, "no_repeat_ngram_size": 3})
PAIRS = Pairs({("en", "de"): Frame(forced_first_id=77), ("en", "fr"): Frame(prefix=">>fr<< ", decoder_start_id=88)})


@pytest.fixture
def bench(fake: BenchMaker) -> Bench:
    return fake(queue=4, max_sequences=2)


@pytest.fixture
def seen(bench: Bench) -> list[GenerationRequest]:
    """The requests that the engine has run, without duplicates."""
    seen: list[GenerationRequest] = []

    def note(sequence: Any) -> None:
        assert isinstance(sequence, Sequence)
        if sequence.request not in seen:
            seen.append(sequence.request)

    bench.runner.on_row = note
    return seen


@pytest.fixture
def parts(bench: Bench, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[TextGenerator, EncoderReader]]:
    threads = GenerationThreads(bench.engine, tokenizer)
    encoder = PromptEncoder(tokenizer, 64)
    generator = TextGenerator(GeneratorParts(threads, encoder, DEFAULTS, LIMITS))
    yield generator, EncoderReader(encoder, LIMITS)
    threads.close()


@pytest.fixture
def summarizer(parts: tuple[TextGenerator, EncoderReader]) -> TextSummarizer:
    return TextSummarizer(*parts, OWN, DEFAULTS, batch_items=3)


@pytest.fixture
def translator(parts: tuple[TextGenerator, EncoderReader]) -> TextTranslator:
    return TextTranslator(*parts, PAIRS, DEFAULTS, batch_items=3)


async def finish(verb: TextSummarizer | TextTranslator, ask: TextsAsk) -> list[list[int]]:
    return [result.ids for result in await asyncio.gather(*(read(one.stream) for one in await verb.start(ask)))]


async def refused(verb: TextSummarizer | TextTranslator, ask: TextsAsk) -> list[str]:
    with pytest.raises(InvalidArgument) as error:
        await verb.start(ask)
    return [violation.field for violation in error.value.violations]


async def test_each_text_is_read_behind_the_prefix(
    summarizer: TextSummarizer, seen: list[GenerationRequest], tokenizer: PreTrainedTokenizerFast
) -> None:
    outputs = await finish(summarizer, TextsAsk(["One.", "Two.", "One."]))
    assert [len(ids) for ids in outputs] == [8, 8, 8]
    assert {request.source_token_ids for request in seen} == {
        (*tokenizer(f"summarize: {text}", add_special_tokens=False)["input_ids"], 2) for text in ("One.", "Two.")
    }
    for request in seen:
        assert request.prompt_token_ids == (2,)
        assert request.stopping.max_new_tokens == 8
        assert request.sampling.no_repeat_ngram_size == 3


async def test_all_texts_have_one_seed_that_is_told(summarizer: TextSummarizer) -> None:
    generations = await summarizer.start(TextsAsk(["One.", "Two."]))
    assert generations[0].seed == generations[1].seed
    other = await summarizer.start(TextsAsk(["One."]))
    assert other[0].seed != generations[0].seed
    asked = await summarizer.start(TextsAsk(["One."], options=GenerationOptions(seed=5)))
    assert asked[0].seed == 5


async def test_an_instruction_stands_in_place_of_the_prefix(
    summarizer: TextSummarizer, seen: list[GenerationRequest], tokenizer: PreTrainedTokenizerFast
) -> None:
    for instruction in ("tl;dr: ", ""):
        await finish(summarizer, TextsAsk(["One."], instruction=instruction))
    expected = [(*tokenizer(text, add_special_tokens=False)["input_ids"], 2) for text in ("tl;dr: One.", "One.")]
    assert [request.source_token_ids for request in seen] == expected


async def test_a_language_begins_the_output_or_its_decoder(
    translator: TextTranslator, seen: list[GenerationRequest], tokenizer: PreTrainedTokenizerFast
) -> None:
    await finish(translator, TextsAsk(["One."], target_language="de"))
    await finish(translator, TextsAsk(["One."], target_language="fr-FR", source_language="en"))
    assert [request.sampling.rules.first_token_id for request in seen] == [77, None]
    assert [request.prompt_token_ids for request in seen] == [(2,), (88,)]
    assert seen[1].source_token_ids == tuple(tokenizer(">>fr<< One.", add_special_tokens=False)["input_ids"])


async def test_everything_wrong_is_told_at_once_and_nothing_runs(
    summarizer: TextSummarizer, translator: TextTranslator, bench: Bench
) -> None:
    ask = TextsAsk(["One.", "", "word " * 60], options=GenerationOptions(top_k=-1, max_new_tokens=500))
    found = ["parameters.top_k", "parameters.max_new_tokens", "texts[1]", "texts[2]"]
    assert sorted(await refused(summarizer, ask)) == sorted(found)
    bad = replace(ask, source_language="xx", violations=(Violation("truncation", "is unknown"),))
    more = ["source_language", "target_language", "truncation"]
    assert sorted(await refused(translator, bad)) == sorted([*found, *more])
    assert await refused(summarizer, TextsAsk(["", "a"], batched=False)) == ["text"]
    assert bench.runner.steps == 0
    assert bench.idle


@pytest.mark.parametrize("count", [0, 4, 100_000])
async def test_no_texts_and_too_many_are_refused(summarizer: TextSummarizer, count: int) -> None:
    assert await refused(summarizer, TextsAsk([""] * count)) == ["texts"]


async def test_a_text_that_is_too_long_is_cut_if_that_is_asked(
    summarizer: TextSummarizer, seen: list[GenerationRequest]
) -> None:
    await finish(summarizer, TextsAsk(["word " * 600], truncation=Truncation.END))
    assert len(seen[0].source_token_ids) == LIMITS.source_tokens


async def test_what_does_not_fit_the_queue_is_refused_whole(summarizer: TextSummarizer, bench: Bench) -> None:
    bench.runner.hold()
    first = await summarizer.start(TextsAsk(["a", "b", "c"]))
    await eventually(lambda: bench.metric("requests_running") == 2 or bool(bench.runner.seen))
    second = await summarizer.start(TextsAsk(["a", "b"]))
    with pytest.raises(QueueFull):
        await summarizer.start(TextsAsk(["a", "b", "c"]))
    bench.runner.free()
    for generation in [*first, *second]:
        assert (await read(generation.stream)).ids
    await eventually(lambda: bench.idle)
    assert bench.metric("requests_total", finish_reason="max_new_tokens") == 5


async def test_tokens_delivered_before_are_gone_on_from(summarizer: TextSummarizer) -> None:
    (whole,) = await finish(summarizer, TextsAsk(["One."], batched=False))
    held = (DeliveredTokens(0, whole[:3]),)
    (rest,) = await finish(summarizer, TextsAsk(["One."], batched=False, delivered=held))
    assert whole[:3] + rest == whole
    sampled = TextsAsk(["One."], batched=False, delivered=held, options=GenerationOptions(temperature=1.0))
    assert await refused(summarizer, sampled) == ["parameters.seed"]


async def test_every_output_is_held_to_the_structure(summarizer: TextSummarizer) -> None:
    wanted = GenerationOptions(structured_output=StructureFormat(StructureKind.REGEX, ("[ab]{3}|no",)))
    generations = await summarizer.start(TextsAsk(["One.", "Two."], options=wanted))
    for result in await asyncio.gather(*(read(generation.stream) for generation in generations)):
        assert re.fullmatch("[ab]{3}|no", result.text)
    broken = GenerationOptions(structured_output=StructureFormat(StructureKind.REGEX, ("(",)))
    assert await refused(summarizer, TextsAsk(["One.", ""], options=broken)) == [
        "parameters.structured_output.regex", "texts[1]",
    ]  # fmt: skip


async def test_times_of_work_are_counted_once_for_all(summarizer: TextSummarizer) -> None:
    generations = await summarizer.start(TextsAsk(["One.", "Two.", "Three."]))
    results = await asyncio.gather(*(read(generation.stream) for generation in generations))
    times = [result.completed.times for result in results]
    assert max(time.compute for time in times) <= max(time.total for time in times)
    assert {result.completed.input_token_count for result in results} != {1}


def test_what_a_task_says_holds_where_the_model_says_otherwise() -> None:
    frame = Frame(forced_first_id=7, parameters={"max_length": 20, "min_length": 5, "repetition_penalty": 1.5})
    model = replace(DEFAULTS, min_new_tokens=1, no_repeat_ngram_size=2, rules=OutputRules(9, (2,)))
    found = defaults_in(frame, model)
    assert (found.most_new_tokens(1), found.fewest_new_tokens(1), found.repetition_penalty) == (19, 4, 1.5)
    assert (found.no_repeat_ngram_size, found.rules) == (2, OutputRules(7, (2,)))
    assert defaults_in(Frame(), model) == model
