import asyncio
import threading
from collections.abc import Iterator

import pytest
from transformers import PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument, QueueFull, Violation
from services.engine.admission import Admission, QueueLimits
from services.engine.language.prompting import PromptEncoder
from services.engine.threads.preprocessing import Preprocessing
from services.text import tokenize
from services.text.tokenize import TextTokenizer


@pytest.fixture
def verb(tokenizer: PreTrainedTokenizerFast) -> Iterator[TextTokenizer]:
    preprocessing = Preprocessing(Admission(QueueLimits(requests=2)))
    yield TextTokenizer(PromptEncoder(tokenizer, 16), len(tokenizer), 3, preprocessing)
    preprocessing.close()


def fields(error: pytest.ExceptionInfo[InvalidArgument]) -> list[str]:
    return [violation.field for violation in error.value.violations]


async def test_texts_become_tokens_and_tokens_texts(verb: TextTokenizer) -> None:
    texts = ["Tänze 🌊", "", "<end>"]
    results = await verb.tokenize(texts, list, add_special_tokens=True)
    assert [token.special for token in results[2]] == [True]
    ids = [[token.id for token in tokens] for tokens in results]
    assert await verb.detokenize(ids, skip_special_tokens=False) == texts
    assert await verb.detokenize(ids, skip_special_tokens=True) == [*texts[:2], ""]


async def test_texts_need_not_fit_the_context(verb: TextTokenizer) -> None:
    assert await verb.tokenize(["x" * 10_000, "fine"], len, add_special_tokens=False) == [10_000, 3]


async def test_no_more_characters_than_could_come_to_that_many_tokens(
    verb: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenize, "MOST_TOKENS", 5)
    with pytest.raises(InvalidArgument) as refused:
        await verb.tokenize([" " * 6, " " * 5], list, add_special_tokens=False)
    assert refused.value.violations[0] == Violation("texts", "come to 11 characters, and at most 10 are read")


async def test_every_id_outside_the_vocabulary_is_named(verb: TextTokenizer) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await verb.detokenize([[1, 320], [5], [-1, 319]], skip_special_tokens=False)
    assert fields(refused) == ["sequences[0].ids[1]", "sequences[2].ids[0]"]


@pytest.mark.parametrize("count", [0, 4])
async def test_a_batch_has_one_item_at_least_and_no_more_than_the_limit(verb: TextTokenizer, count: int) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await verb.tokenize(["x"] * count, list, add_special_tokens=True)
    assert fields(refused) == ["texts"]
    with pytest.raises(InvalidArgument) as refused:
        await verb.detokenize([[1]] * count, skip_special_tokens=True)
    assert fields(refused) == ["sequences"]


async def test_no_more_tokens_than_a_request_may_have(verb: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenize, "MOST_TOKENS", 6)
    texts = ["zzz"] * 2
    ids = await verb.tokenize(texts, lambda tokens: [token.id for token in tokens], add_special_tokens=False)
    assert await verb.detokenize(ids, skip_special_tokens=False) == texts
    with pytest.raises(InvalidArgument) as refused:
        await verb.tokenize([*texts, "z"], list, add_special_tokens=False)
    assert fields(refused) == ["texts"]
    with pytest.raises(InvalidArgument) as refused:
        await verb.detokenize([*ids, [1]], skip_special_tokens=False)
    assert fields(refused) == ["sequences"]


async def test_what_becomes_of_tokens_keeps_no_other_call_waiting(verb: TextTokenizer) -> None:
    threads = await verb.tokenize(["a", "b"], lambda _: threading.get_ident(), add_special_tokens=True)
    assert threading.get_ident() not in threads


async def test_a_flood_is_refused_and_not_stored(verb: TextTokenizer) -> None:
    """When more batches arrive than may wait, the first are answered and the others get QUEUE_FULL."""
    results = await asyncio.gather(
        *(verb.tokenize(["a b c"], list, add_special_tokens=True) for _ in range(6)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, QueueFull)]
    assert len(refused) == 4
    assert await verb.tokenize(["a"], list, add_special_tokens=True)
