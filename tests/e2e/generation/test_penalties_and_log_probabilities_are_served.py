from itertools import pairwise
from typing import Any

import pytest

from sensorium import InvalidArgument
from sensorium.v1.common_pb2 import GenerationParameters, TokenIds, TokenLogprob
from sensorium.v1.text_pb2 import GenerateRequest
from tests.e2e.conftest import Checkpoints
from tests.e2e.requests import request
from tests.e2e.stack import running_stack
from tests.tiny.language_models import tokenizer

PROMPT = [10, 20, 30]
BANNED = "t"
PARAMETERS: dict[str, Any] = {
    "temperature": 1.0, "seed": 3, "typical_p": 0.9, "presence_penalty": 0.5, "frequency_penalty": 0.5,
    "repetition_penalty": 1.1, "no_repeat_ngram_size": 2, "logit_bias": {100: 5.0, 101: -100.0}, "bad_words": [BANNED],
    "allowed_token_ids": list(range(60, 140)), "logprob_count": 2, "max_new_tokens": 25, "ignore_eos": True,
}  # fmt: skip


async def test_the_whole_and_the_stream_tell_the_same(checkpoints: Checkpoints) -> None:
    async with running_stack(checkpoints("llama")) as stack:
        asked = GenerateRequest(prompt_token_ids=TokenIds(ids=PROMPT), parameters=GenerationParameters(**PARAMETERS))
        whole = (await stack.client.text.generate(asked)).candidates[0]
        ids, logprobs = list[int](), list[TokenLogprob]()
        async for event in stack.client.text.stream_generate(request(PROMPT, **PARAMETERS)):
            assert len(event.delta.logprobs) == len(event.delta.token_ids)
            ids += event.delta.token_ids
            logprobs += event.delta.logprobs
    assert ids == list(whole.token_ids) == [entry.token_id for entry in logprobs]
    assert logprobs == list(whole.logprobs)
    assert all(len(entry.alternatives) == 2 and entry.alternatives[0].text for entry in logprobs)
    assert set(ids) <= set(range(60, 140)) - {101, *tokenizer()(BANNED)["input_ids"]}
    pairs = list(pairwise(ids))
    assert len(set(pairs)) == len(pairs) == 24


async def test_what_comes_to_forbid_every_token_is_refused_when_it_does(checkpoints: Checkpoints) -> None:
    async with running_stack(checkpoints("llama")) as stack:
        ids: list[int] = []
        with pytest.raises(InvalidArgument) as caught:
            async for event in stack.client.text.stream_generate(
                request(PROMPT, allowed_token_ids=[60, 61], no_repeat_ngram_size=1, ignore_eos=True)
            ):
                ids += event.delta.token_ids
    assert [violation.field for violation in caught.value.violations] == ["parameters"]
    assert sorted(ids) == [60, 61]
