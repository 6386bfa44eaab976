import asyncio
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from sensorium import AsyncClient, InvalidArgument, SensoriumError, TaskNotSupported
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import text_pb2 as pb
from sensorium.v1.common_pb2 import (
    ROLE_USER,
    ChatMessage,
    ChatPrompt,
    DeliveredTokens,
    GenerationParameters,
    TokenIds,
)
from tests.drawn import drawn
from tests.e2e.conftest import Checkpoints
from tests.e2e.requests import read, request
from tests.e2e.stack import RunningStack, running_stack
from tests.tiny.language_models import tokenizer
from tests.tiny.translators import SENTENCES, write_m2m, write_marian, write_t5
from tests.waiting import until

NEW_TOKENS = 12
QUIET = GenerationParameters(temperature=0, max_new_tokens=NEW_TOKENS)
WRITERS: dict[str, Callable[[Path], Path]] = {"m2m": write_m2m, "marian": write_marian, "t5": write_t5}

Translators = Callable[[str], Path]


@pytest.fixture(scope="module")
def translators(tmp_path_factory: pytest.TempPathFactory) -> Translators:
    """Returns the folder of a tiny translator by its kind; written once."""
    root = tmp_path_factory.mktemp("translators")
    return cache(lambda name: WRITERS[name](root / name))


@cache
def own(folder: Path) -> tuple[Any, Any]:
    """Returns transformers' own model and tokenizer."""
    made = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    return made, AutoTokenizer.from_pretrained(folder)


def generated(folder: Path, text: str, **options: Any) -> list[int]:
    """Returns what `generate` makes of a text, without what its decoder starts with."""
    model, own_tokenizer = own(folder)
    ids = torch.tensor([own_tokenizer(text)["input_ids"]])
    lengths = {"max_new_tokens": NEW_TOKENS} | options
    return model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, **lengths)[0, 1:].tolist()


async def info(stack: RunningStack) -> models.ModelInfo:
    return (await stack.client.models.get_model(models.GetModelRequest())).model


async def refusal(call: Any) -> SensoriumError:
    with pytest.raises(SensoriumError) as caught:
        await call
    return caught.value


async def fields(call: Any) -> list[str]:
    error = await refusal(call)
    assert isinstance(error, InvalidArgument)
    return sorted(violation.field for violation in error.violations)


@pytest.mark.parametrize("name", drawn(["mamba", "bloom", "lfm2", "longrope"], 2))
async def test_a_decoder_with_other_state_continues_as_generate(name: str, checkpoints: Checkpoints) -> None:
    folder = checkpoints(name)
    prompts = [[7, 8, 9], [30 + i for i in range(25)], [100]]
    async with running_stack(folder, prefill_tokens=16) as stack:
        told = await info(stack)
        assert told.execution_path == models.EXECUTION_PATH_SERIAL
        assert "own generate" in told.execution_path_reason
        asked = {"temperature": 0, "max_new_tokens": NEW_TOKENS, "ignore_eos": True, "no_repeat_ngram_size": 2}
        results = await asyncio.gather(*(read(stack.client, request(prompt, **asked)) for prompt in prompts))
    for prompt, result in zip(prompts, results, strict=True):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        ids = torch.tensor([prompt])
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False,
            no_repeat_ngram_size=2, eos_token_id=None,
        )  # fmt: skip
        assert result.token_ids == output[0, len(prompt) :].tolist()


async def test_texts_are_translated_into_a_language_as_generate_translates_them(translators: Translators) -> None:
    folder = translators("m2m")
    _, own_tokenizer = own(folder)
    own_tokenizer.src_lang = "de"
    expected = [generated(folder, text, forced_bos_token_id=own_tokenizer.get_lang_id("fr")) for text in SENTENCES]
    async with running_stack(folder) as stack:
        told = await info(stack)
        assert list(told.tasks) == [models.TASK_GENERATE_TEXT, models.TASK_TRANSLATE, models.TASK_TOKENIZE]
        assert told.execution_path == models.EXECUTION_PATH_BATCHED
        assert {"de", "fr", "zu"} <= set(told.languages)
        asked = {"source_language": "de-CH", "target_language": "fra", "parameters": QUIET}
        response = await stack.client.text.translate(pb.TranslateRequest(texts=SENTENCES, **asked))
        assert [list(result.candidates[0].token_ids) for result in response.results] == expected
        for result, ids in zip(response.results, expected, strict=True):
            assert result.candidates[0].text == own_tokenizer.decode(ids, skip_special_tokens=True)
        inputs = [len(own_tokenizer(text)["input_ids"]) for text in SENTENCES]
        assert response.usage.input_token_count == sum(inputs)
        assert response.usage.output_token_count == sum(map(len, expected))
        assert response.timing.compute.ToTimedelta() <= response.timing.total.ToTimedelta()
        assert response.model.revision
        whole = await stream(stack.client.text.stream_translate, pb.StreamTranslateRequest(text=SENTENCES[0], **asked))
        assert (whole["ids"], whole["text"]) == (expected[0], response.results[0].candidates[0].text)
        assert whole["started"].prompt_token_count == inputs[0]
        held = DeliveredTokens(token_ids=expected[0][:5])
        again = pb.StreamTranslateRequest(text=SENTENCES[0], delivered=[held], **asked)
        assert (await stream(stack.client.text.stream_translate, again))["ids"] == expected[0][5:]


async def test_one_pair_needs_no_names(translators: Translators) -> None:
    folder = translators("marian")
    async with running_stack(folder) as stack:
        told = await info(stack)
        assert list(told.languages) == ["en", "de"]
        response = await stack.client.text.translate(pb.TranslateRequest(texts=SENTENCES[:2], parameters=QUIET))
        for text, result in zip(SENTENCES, response.results, strict=False):
            assert list(result.candidates[0].token_ids) == generated(folder, text)
        wrong = pb.TranslateRequest(texts=SENTENCES[:1], source_language="fr", target_language="de")
        assert await fields(stack.client.text.translate(wrong)) == ["source_language"]
        assert isinstance(
            await refusal(stack.client.text.summarize(pb.SummarizeRequest(texts=["a"]))), TaskNotSupported
        )


async def test_a_task_has_the_prefix_and_the_lengths_of_the_configuration(translators: Translators) -> None:
    folder = translators("t5")
    async with running_stack(folder) as stack:
        tasks = [models.TASK_GENERATE_TEXT, models.TASK_SUMMARIZE, models.TASK_TRANSLATE, models.TASK_TOKENIZE]
        assert list((await info(stack)).tasks) == tasks
        response = await stack.client.text.summarize(pb.SummarizeRequest(texts=SENTENCES[:2]))
        rules = {"max_new_tokens": None, "max_length": 30, "min_length": 8, "no_repeat_ngram_size": 3}
        for text, result in zip(SENTENCES, response.results, strict=False):
            assert list(result.candidates[0].token_ids) == generated(folder, f"summarize: {text}", **rules)
        asked = pb.StreamSummarizeRequest(text=SENTENCES[0], instruction="", parameters=QUIET)
        events = await stream(stack.client.text.stream_summarize, asked)
        rules = {"no_repeat_ngram_size": 3, "min_length": 8}
        assert events["ids"] == generated(folder, SENTENCES[0], **rules)
        into = pb.TranslateRequest(texts=SENTENCES[:1], target_language="fr", parameters=QUIET)
        (result,) = (await stack.client.text.translate(into)).results
        expected = generated(folder, f"translate English to French: {SENTENCES[0]}")
        assert list(result.candidates[0].token_ids) == expected


async def test_text_to_text_is_generated_and_its_limits_are_told_apart(translators: Translators) -> None:
    folder = translators("t5")
    prompt = [7 + i % 200 for i in range(250)]
    async with running_stack(folder) as stack:
        options = {"temperature": 0, "max_new_tokens": 20, "ignore_eos": True}
        result = await read(stack.client, request(prompt, **options))  # together more than either may have
        assert result.usage.input_token_count == result.started.prompt_token_count == 250
        assert len(result.token_ids) == 20
        text = stack.client.text
        long = pb.GenerateRequest(prompt_token_ids=TokenIds(ids=[7] * 257))
        assert await fields(text.generate(long)) == ["prompt_token_ids.ids"]
        wanted = pb.GenerateRequest(prompt="a", parameters=GenerationParameters(max_new_tokens=256))
        assert await fields(text.generate(wanted)) == ["parameters.max_new_tokens"]
        scored = pb.GenerateRequest(prompt="a", parameters=GenerationParameters(prompt_logprob_count=1))
        assert await fields(text.generate(scored)) == ["parameters.prompt_logprob_count"]


async def test_a_chat_model_summarizes_what_it_is_told(checkpoints: Checkpoints) -> None:
    async with running_stack(checkpoints("llama")) as stack:
        text = stack.client.text
        assert models.TASK_SUMMARIZE in (await info(stack)).tasks
        said = f"Shorten this.\n\n{SENTENCES[0]}"
        chat = ChatPrompt(messages=[ChatMessage(role=ROLE_USER, content=said)])
        answer = await text.generate(pb.GenerateRequest(chat=chat, parameters=QUIET))
        asked = pb.SummarizeRequest(texts=SENTENCES[:1], instruction="Shorten this.", parameters=QUIET)
        (summary,) = (await text.summarize(asked)).results
        assert summary.candidates[0].token_ids == answer.candidates[0].token_ids
        plain = await text.summarize(pb.SummarizeRequest(texts=SENTENCES[:1], parameters=QUIET))
        assert plain.usage.input_token_count > len(tokenizer()(SENTENCES[0])["input_ids"])
        assert isinstance(await refusal(text.translate(pb.TranslateRequest(texts=["a"]))), TaskNotSupported)


async def test_bad_texts_are_refused_whole_and_harm_no_neighbour(translators: Translators) -> None:
    folder = translators("m2m")
    async with running_stack(folder, max_batch_items=3) as stack:
        client = stack.client
        parameters = GenerationParameters(temperature=0, max_new_tokens=100, ignore_eos=True)
        into = {"source_language": "en", "target_language": "fr"}
        neighbour = asyncio.create_task(
            client.text.translate(pb.TranslateRequest(texts=SENTENCES[:1], parameters=parameters, **into))
        )
        await until(lambda: stack.text.metric("sensorium_engine_requests_running") == 1)
        await check_refusals(client, into)
        (result,) = (await neighbour).results
        _, own_tokenizer = own(folder)
        own_tokenizer.src_lang = "en"
        begins = own_tokenizer.get_lang_id("fr")
        expected = generated(folder, SENTENCES[0], forced_bos_token_id=begins, max_new_tokens=100, eos_token_id=None)
        assert list(result.candidates[0].token_ids) == expected


async def check_refusals(client: AsyncClient, into: dict[str, str]) -> None:
    text = client.text
    assert await fields(text.translate(pb.TranslateRequest(texts=["a", "", "b"], **into))) == ["texts[1]"]
    assert await fields(text.translate(pb.TranslateRequest(**into))) == ["texts"]
    assert await fields(text.translate(pb.TranslateRequest(texts=["a"] * 4, **into))) == ["texts"]
    both = ["source_language", "target_language"]
    assert await fields(text.translate(pb.TranslateRequest(texts=["a"]))) == both
    unknown = {"source_language": "tlh", "target_language": "English"}
    assert await fields(text.translate(pb.TranslateRequest(texts=["a"], **unknown))) == both
    long = "word " * 100
    assert await fields(text.translate(pb.TranslateRequest(texts=["a", long], **into))) == ["texts[1]"]
    cut = pb.TranslateRequest(
        texts=[long], truncation=pb.TRUNCATION_END, parameters=GenerationParameters(max_new_tokens=2), **into
    )
    assert (await text.translate(cut)).usage.input_token_count == 256
    odd = pb.TranslateRequest(texts=["a"], truncation=99, **into)  # type: ignore[arg-type]
    assert await fields(text.translate(odd)) == ["truncation"]
    wrong = GenerationParameters(top_p=2, max_new_tokens=0)
    found = ["parameters.max_new_tokens", "parameters.top_p", "texts[0]"]
    assert await fields(text.translate(pb.TranslateRequest(texts=["", "b"], parameters=wrong, **into))) == found
    delivered = [DeliveredTokens(candidate_index=1, token_ids=[5])]
    asked = pb.StreamTranslateRequest(text="a", delivered=delivered, **into)
    assert await fields(stream(text.stream_translate, asked)) == ["delivered[0].candidate_index"]
    assert await fields(stream(text.stream_translate, pb.StreamTranslateRequest(**into))) == ["text"]


async def stream(rpc: Any, asked: Any) -> dict[str, Any]:
    """Reads a stream to its end and checks the order of its events."""
    read: dict[str, Any] = {"text": "", "ids": [], "events": []}
    async for event in rpc(asked):
        kind = event.WhichOneof("event")
        read["events"].append(kind)
        read[kind] = getattr(event, kind)
        if kind == "delta":
            read["text"] += event.delta.text
            read["ids"] += event.delta.token_ids
    assert read["events"][0] == "started"
    assert read["events"][-1] == "completed"
    assert set(read["events"][1:-1]) == {"delta"}
    return read
