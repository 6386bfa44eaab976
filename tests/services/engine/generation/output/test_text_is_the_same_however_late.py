"""Text that is read of several tokens at once is that of the tokens one by one."""

import random

import pytest
from transformers import PreTrainedTokenizerFast

from services.engine.generation.output.detokenizer import IncrementalDetokenizer
from services.engine.generation.requests.request import Delta
from tests.services.bench import output_of, request
from tests.services.engine.generation.vocabularies import as_bytes, byte_fallback

WORDS = ["▁hello", "▁world", "ing", ",", "▁"]
TEXTS = ["Tänze im Grünen", " 東京", "🌊🌊🏳️‍🌈", " a", "e\u0301", "\N{REPLACEMENT CHARACTER}", "\n\n", "क्षि", " plain"]


def cut(ids: list[int], source: random.Random) -> list[list[int]]:
    """Cuts ids into pieces of up to nine."""
    pieces: list[list[int]] = []
    while ids:
        size = source.randint(1, 9)
        pieces.append(ids[:size])
        ids = ids[size:]
    return pieces


def fallback_ids(tokenizer: PreTrainedTokenizerFast, source: random.Random) -> list[int]:
    chunks = [[tokenizer.convert_tokens_to_ids(word)] for word in WORDS]
    chunks += [[2], as_bytes("中国"), as_bytes("🌊"), as_bytes("é"), as_bytes("x"), as_bytes("中")[:2], [*b"\xff\xc3"]]
    return [token_id for chunk in source.choices(chunks, k=20) for token_id in chunk]


def many(tokenizer: PreTrainedTokenizerFast, source: random.Random) -> list[tuple[PreTrainedTokenizerFast, list[int]]]:
    """Returns ids of texts, ids at random, and ids of a vocabulary that spells characters in bytes."""
    bytes_ = byte_fallback()
    found = [(tokenizer, tokenizer("".join(source.choices(TEXTS, k=8)))["input_ids"]) for _ in range(100)]
    found += [(tokenizer, [source.randrange(len(tokenizer)) for _ in range(50)]) for _ in range(100)]
    return found + [(bytes_, fallback_ids(bytes_, source)) for _ in range(200)]


def test_it_is_the_same_behind_every_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    source, together = random.Random(11), 0
    for decoder, ids in many(tokenizer, source):
        one_by_one, at_once = (IncrementalDetokenizer(decoder, [5, 6], skip_special_tokens=True) for _ in range(2))
        for piece in cut(ids, source):
            pushed = [one_by_one.push(token_id) for token_id in piece]
            text, count = at_once.read(piece)
            assert text == "".join(pushed)
            if text:
                assert not any(pushed[count:])
                together += len(piece) > 1
        assert one_by_one.flush() == at_once.flush()
    assert together > 500


def test_several_cost_no_more_than_one(tokenizer: PreTrainedTokenizerFast) -> None:
    calls: list[int] = []

    class Counting:
        def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
            calls.append(len(ids))
            return tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    ids = tokenizer("a plain text " * 4)["input_ids"]
    detokenizer = IncrementalDetokenizer(Counting(), ids[:4], skip_special_tokens=True)
    calls.clear()
    assert detokenizer.read(ids) == ("a plain text " * 4, len(ids))
    assert len(calls) == 2


@pytest.mark.parametrize("stop_strings", [(), ("never", "Grün")])
def test_deltas_taken_late_hold_the_ids_of_their_text_and_no_others(
    tokenizer: PreTrainedTokenizerFast, stop_strings: tuple[str, ...]
) -> None:
    source = random.Random(12)
    for decoder, ids in many(tokenizer, source):
        asked = request([5, 6], max_new_tokens=len(ids), stop_strings=stop_strings)
        eager, late = output_of(asked, decoder), output_of(asked, decoder)
        told: list[Delta] = []
        for piece in cut(ids, source):
            fresh = [eager.take() for token_id in piece if not eager.finish and (eager.push(token_id) or True)]
            told += [delta for delta in fresh if delta]
            for token_id in piece:
                if not late.finish:
                    late.push(token_id)
            delta = late.take()
            joined = sum(told[1:], told[0]) if told else None
            assert delta == joined or (delta is None and joined is None)
            told.clear()
        assert late.finish == eager.finish is not None
