from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument, QueueFull, Violation
from services.engine.checkpoint import ModelRefused
from services.engine.generation.requests.request import FinishReason
from services.engine.generation.requests.resolution import (
    DeliveredTokens,
    GenerationLimits,
    GenerationOptions,
    ModelDefaults,
)
from services.engine.generation.sequence import Sequence
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Chat
from services.engine.structure.format import StructureFormat, StructureKind
from services.engine.structure.structure import Structure
from services.engine.threads.preprocessing import Preprocessing
from services.generation.answer_parsing import response_format
from services.generation.ask import GenerationAsk
from services.generation.generation_threads import GenerationThreads
from services.generation.generator import TextGenerator
from services.generation.generator_parts import GeneratorParts
from tests.services.bench import Bench, BenchMaker, read
from tests.services.fake_runner import continuation

LIMITS = GenerationLimits(context_tokens=64, vocabulary_size=320)
CHAT = Chat([{"role": "user", "content": "Hi"}], [], continue_last=False)


@pytest.fixture
def bench(fake: BenchMaker) -> Bench:
    return fake(queue=2, max_sequences=1)


@pytest.fixture
def verb(bench: Bench, tokenizer: PreTrainedTokenizerFast) -> Iterator[TextGenerator]:
    threads = GenerationThreads(bench.engine, tokenizer)
    encoder = PromptEncoder(tokenizer, LIMITS.context_tokens)
    yield TextGenerator(GeneratorParts(threads, encoder, ModelDefaults(), LIMITS))
    threads.close()


def options(**fields: Any) -> GenerationOptions:
    return GenerationOptions(**({"max_new_tokens": 5} | fields))


async def refused(verb: TextGenerator, ask: GenerationAsk) -> list[str]:
    with pytest.raises(InvalidArgument) as error:
        await verb.start(ask)
    return [violation.field for violation in error.value.violations]


async def test_every_form_of_input_is_generated_from(verb: TextGenerator, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("Hello")["input_ids"]
    for ask in (
        GenerationAsk(prompt="Hello", options=options()),
        GenerationAsk(prompt_token_ids=ids, options=options()),
    ):
        generation = await verb.start(ask)
        assert generation.prompt_token_count == len(ids)
        assert generation.rendered_prompt is None
        assert (await read(generation.stream)).ids == continuation(ids, 5)
    chat = await verb.start(GenerationAsk(chat=CHAT, options=options(), return_rendered_prompt=True))
    assert chat.rendered_prompt == "<|user|>Hi<end><|assistant|>"
    rendered = tokenizer(chat.rendered_prompt, add_special_tokens=False)["input_ids"]
    assert (await read(chat.stream)).ids == continuation(rendered, 5)


LIGHT = [
    GenerationAsk(prompt="Hello", options=options()),
    GenerationAsk(prompt_token_ids=[5, 6], options=options(stop_token_ids=(7,))),
]
HEAVY = [
    GenerationAsk(chat=CHAT, options=options()),
    GenerationAsk(prompt="Hi" * 300, options=options()),
    GenerationAsk(prompt="\ufdfa" * 171, options=options()),  # 18 letters each where a tokenizer takes them apart
    GenerationAsk(prompt_token_ids=[5] * 1025, options=options()),
    GenerationAsk(prompt="x", options=options(bad_words=("a",))),
    GenerationAsk(prompt="x", options=options(), delivered=(DeliveredTokens(0, [5]),)),
]


async def test_only_what_takes_no_longer_than_a_thread_to_wake_is_done_on_the_loop(
    verb: TextGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handed_over(_self: Preprocessing, *_arguments: object) -> None:
        raise ChildProcessError

    monkeypatch.setattr(Preprocessing, "finish", handed_over)
    for ask in LIGHT:
        assert (await read((await verb.start(ask)).stream)).ids
    for ask in HEAVY:
        with pytest.raises(ChildProcessError):
            await verb.start(ask)
    monkeypatch.setattr(verb._encoder, "is_fast", False)
    with pytest.raises(ChildProcessError):
        await verb.start(LIGHT[0])


async def test_bad_words_are_forbidden_with_and_without_a_space_before(
    verb: TextGenerator, bench: Bench, tokenizer: PreTrainedTokenizerFast
) -> None:
    word = "Str"
    forms = {tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (word, " " + word)}
    assert len(forms) == 2
    sequences: list[Sequence] = []
    bench.runner.on_row = sequences.append
    await read((await verb.start(GenerationAsk(prompt="x", options=options(bad_words=(word, word))))).stream)
    bad_words = sequences[0].request.sampling.bad_words
    assert (set(bad_words), len(bad_words)) == (forms, 2)


async def test_a_bad_word_of_no_token_is_refused(verb: TextGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = PromptEncoder.encode
    gone = "\N{ZERO WIDTH SPACE}"  # some tokenizers normalize it away
    monkeypatch.setattr(
        PromptEncoder, "encode", lambda self, text, **fields: [] if text == gone else encode(self, text, **fields)
    )
    ask = GenerationAsk(prompt="x", options=options(bad_words=("fine", gone)))
    assert await refused(verb, ask) == ["parameters.bad_words[1]"]


async def test_log_probabilities_come_with_the_text_of_each_token(
    verb: TextGenerator, tokenizer: PreTrainedTokenizerFast
) -> None:
    result = await read((await verb.start(GenerationAsk(prompt="x", options=options(logprob_count=4)))).stream)
    assert [entry.token_id for entry in result.logprobs] == result.ids
    for entry in result.logprobs:
        assert (entry.alternatives[0].token_id, entry.rank) == (entry.token_id, 1)
        assert [other.text for other in entry.alternatives] == [
            tokenizer.decode([other.token_id]) for other in entry.alternatives
        ]


async def test_the_seed_in_force_is_told(verb: TextGenerator) -> None:
    assert (await verb.start(GenerationAsk(prompt="x", options=options(seed=12)))).seed == 12


async def test_without_a_limit_the_context_is_filled(verb: TextGenerator) -> None:
    generation = await verb.start(GenerationAsk(prompt_token_ids=[10] * 4))
    result = await read(generation.stream)
    assert len(result.ids) == 60
    assert result.completed.finish.reason is FinishReason.CONTEXT_LENGTH


async def test_delivered_tokens_are_not_generated_again(verb: TextGenerator) -> None:
    ids = continuation([10, 11], 5)
    for k in (0, 3, 5):
        generation = await verb.start(
            GenerationAsk(prompt_token_ids=[10, 11], options=options(), delivered=(DeliveredTokens(0, ids[:k]),))
        )
        result = await read(generation.stream)
        assert result.ids == ids[k:]
        assert result.completed.output_token_count == 5
        assert result.completed.finish.reason is FinishReason.MAX_NEW_TOKENS


async def test_tokens_delivered_behind_an_end_are_refused(verb: TextGenerator) -> None:
    ask = GenerationAsk(
        prompt_token_ids=[10], options=options(stop_token_ids=(7,)), delivered=(DeliveredTokens(0, [20, 7, 30]),)
    )
    assert await refused(verb, ask) == ["delivered[0].token_ids[2]"]


async def test_all_that_is_wrong_is_told_at_once(verb: TextGenerator) -> None:
    found = (Violation("chat.messages[0].role", "must be set"),)
    ask = GenerationAsk(options=options(top_k=-1), violations=found)
    assert await refused(verb, ask) == ["chat.messages[0].role", "parameters.top_k"]
    assert await refused(verb, GenerationAsk(prompt="", options=options(top_k=-1))) == ["parameters.top_k", "prompt"]
    long = GenerationAsk(prompt="x" * 100_000, options=options(top_p=2))
    assert await refused(verb, long) == ["prompt", "parameters.top_p"]
    ids = GenerationAsk(prompt_token_ids=[1, 320], options=options())
    assert await refused(verb, ids) == ["prompt_token_ids.ids[1]"]


async def test_a_refused_request_leaves_nothing_behind(verb: TextGenerator, bench: Bench) -> None:
    for _ in range(5):  # more than may be prepared at once
        await refused(verb, GenerationAsk(prompt=""))
    assert (await read((await verb.start(GenerationAsk(prompt="x", options=options()))).stream)).ids
    assert bench.idle


async def test_no_more_are_tokenized_than_may_wait(verb: TextGenerator, bench: Bench) -> None:
    with bench.engine.admission.preparing(), bench.engine.admission.preparing(), pytest.raises(QueueFull):
        await verb.start(GenerationAsk(prompt="x", options=options()))


async def test_each_candidate_goes_on_behind_what_was_delivered_of_it(verb: TextGenerator) -> None:
    ids = continuation([10, 11], 5)
    delivered = (DeliveredTokens(2, ids[:3]), DeliveredTokens(0, ids))
    ask = GenerationAsk(prompt_token_ids=[10, 11], options=options(candidate_count=3), delivered=delivered)
    result = await read((await verb.start(ask)).stream)
    assert [list(candidate.token_ids) for candidate in result.candidates] == [[], ids, ids[3:]]
    assert result.completed.output_token_count == 15


async def test_tokens_of_any_candidate_behind_its_end_are_refused_where_they_stand(verb: TextGenerator) -> None:
    delivered = (DeliveredTokens(1, [20]), DeliveredTokens(0, [20, 7, 30]))
    asked = options(candidate_count=2, stop_token_ids=(7,))
    ask = GenerationAsk(prompt_token_ids=[10], options=asked, delivered=delivered)
    assert await refused(verb, ask) == ["delivered[1].token_ids[2]"]


async def test_a_prompts_log_probabilities_come_with_texts(
    verb: TextGenerator, tokenizer: PreTrainedTokenizerFast
) -> None:
    ask = GenerationAsk(prompt="Hello, you", options=options(prompt_logprob_count=2))
    generation = await verb.start(ask)
    entries = await generation.prompt_logprobs()
    assert [entry.token_id for entry in entries] == tokenizer("Hello, you")["input_ids"]
    assert all(
        other.text == tokenizer.decode([other.token_id]) for entry in entries[1:] for other in entry.alternatives
    )
    assert len((await read(generation.stream)).ids) == 5
    plain = await verb.start(GenerationAsk(prompt="Hello, you", options=options()))
    assert await plain.prompt_logprobs() == ()


async def test_what_does_not_compile_is_told_with_all_else(verb: TextGenerator) -> None:
    found = (Violation("chat.messages[0].role", "must be set"),)
    wrong = options(structured_output=StructureFormat(StructureKind.REGEX, ("(a",)), top_k=-1)
    fields = await refused(verb, GenerationAsk(options=wrong, violations=found))
    assert fields == ["chat.messages[0].role", "parameters.structured_output.regex", "parameters.top_k"]


async def test_delivered_tokens_are_held_to_the_structure(
    verb: TextGenerator, tokenizer: PreTrainedTokenizerFast
) -> None:
    structured = options(structured_output=StructureFormat(StructureKind.REGEX, ("abcd",)), stop_token_ids=(7,))
    a, b, c, d = (tokenizer.convert_tokens_to_ids(letter) for letter in "abcd")

    async def delivering(*ids: int) -> GenerationAsk:
        return GenerationAsk(prompt_token_ids=[10], options=structured, delivered=(DeliveredTokens(0, list(ids)),))

    for ids, place in (((b,), 0), ((a, b, 7), 2), ((a, b, a, c), 2), ((a, b, c, d, 7), 4)):
        assert await refused(verb, await delivering(*ids)) == [f"delivered[0].token_ids[{place}]"]
    result = await read((await verb.start(await delivering(a, b))).stream)
    assert result.text == "cd"
    assert result.completed.finish.reason is FinishReason.STRUCTURE_COMPLETE
    whole = await read((await verb.start(await delivering(a, b, c, d))).stream)
    assert (whole.text, whole.ids, whole.completed.output_token_count) == ("", [], 4)


async def test_a_structure_that_delivered_tokens_make_too_costly_is_named(
    verb: TextGenerator, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    structured = options(structured_output=StructureFormat(StructureKind.REGEX, ("[a-z]*",)), max_new_tokens=20)
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "costly"]
    worked, calls = Structure.worked, 0

    def slower(structure: Structure, seconds: float, error: str) -> None:
        nonlocal calls
        calls += 1
        worked(structure, 10.0 if calls > 5 else seconds, error)

    monkeypatch.setattr(Structure, "worked", slower)
    ask = GenerationAsk(prompt_token_ids=[10], options=structured, delivered=(DeliveredTokens(0, letters),))
    assert await refused(verb, ask) == ["parameters.structured_output.regex"]
    assert await refused(verb, replace(ask, delivered=())) == ["parameters.structured_output.regex"]


async def test_an_answer_is_not_parsed_where_its_format_is_not_known(verb: TextGenerator) -> None:
    ask = GenerationAsk(chat=CHAT, options=options(temperature=7), parsed="chat.parse_response")
    assert await refused(verb, ask) == ["chat.parse_response"]


def test_a_file_that_is_no_response_template_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    file = tmp_path / "template.json"
    with pytest.raises(ModelRefused, match="No such file"):
        response_format(tokenizer, file)
    for wrong in ("{", "[]", '{"fields": {}}', '{"start_anchor": "a", "fields": {"mood": {"open": "b"}}}'):
        file.write_text(wrong)
        with pytest.raises(ModelRefused, match=r"--response-template .*template\.json cannot be used"):
            response_format(tokenizer, file)
    file.write_text('{"start_anchor": "<|assistant|>", "fields": {"content": {"close": "<end>"}}}')
    assert response_format(tokenizer, file) is not None
    assert response_format(tokenizer, None) is None
