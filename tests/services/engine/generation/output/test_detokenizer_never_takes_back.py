import random

import pytest
from transformers import PreTrainedTokenizerFast

from services.engine.generation.output.detokenizer import IncrementalDetokenizer
from tests.services.engine.generation.vocabularies import BYTES_FROM, as_bytes, byte_fallback, whole

TEXTS = ["Tänze im Grünen", " 東京", "🌊🌊🏳️‍🌈", " a", "e\u0301", "\N{REPLACEMENT CHARACTER}", "\n\n", "क्षि"]


def pieces(
    tokenizer: PreTrainedTokenizerFast, prompt: list[int], ids: list[int], *, skip_special_tokens: bool = True
) -> list[str]:
    """Returns what each push released, and at last what the flush did."""
    detokenizer = IncrementalDetokenizer(tokenizer, prompt, skip_special_tokens=skip_special_tokens)
    return [*(detokenizer.push(token_id) for token_id in ids), detokenizer.flush()]


def behind(tokenizer: PreTrainedTokenizerFast, prompt: list[int], ids: list[int], **options: bool) -> str:
    return whole(tokenizer, prompt + ids, **options)[len(whole(tokenizer, prompt, **options)) :]


@pytest.mark.parametrize("skip_special_tokens", [True, False])
def test_random_byte_level_ids_come_out_as_when_decoded_at_once(
    tokenizer: PreTrainedTokenizerFast, skip_special_tokens: bool
) -> None:
    generator = random.Random(1)
    prompt = tokenizer("A prompt.")["input_ids"]
    for _ in range(300):
        ids = [generator.randrange(len(tokenizer)) for _ in range(generator.randint(1, 60))]
        got = pieces(tokenizer, prompt, ids, skip_special_tokens=skip_special_tokens)
        assert "".join(got) == behind(tokenizer, prompt, ids, skip_special_tokens=skip_special_tokens)


def test_text_in_many_scripts_comes_out_in_whole_characters(tokenizer: PreTrainedTokenizerFast) -> None:
    generator = random.Random(2)
    prompt = tokenizer("A prompt.")["input_ids"]
    for _ in range(200):
        text = "".join(generator.choices(TEXTS, k=8))
        ids = tokenizer(text)["input_ids"]
        got = pieces(tokenizer, prompt, ids)
        assert "".join(got) == text
        # Whatever was returned begins the text, at every moment: no half character, nothing taken back.
        assert all(text.startswith("".join(got[:k])) for k in range(len(got)))


def test_long_runs_of_bytes_that_are_no_character_lose_none(tokenizer: PreTrainedTokenizerFast) -> None:
    generator = random.Random(6)
    prompt = tokenizer("A prompt.")["input_ids"]
    for _ in range(100):
        few = [generator.randrange(len(tokenizer)) for _ in range(generator.randint(1, 3))]
        ids = generator.choices(few, k=150)
        assert "".join(pieces(tokenizer, prompt, ids)) == behind(tokenizer, prompt, ids)


def test_a_character_leaves_with_its_last_byte_and_no_earlier() -> None:
    tokenizer = byte_fallback()
    ids = as_bytes("é東🌊")
    got = pieces(tokenizer, [1], ids)
    assert got == ["", "é", "", "", "東", "", "", "", "🌊", ""]


def test_characters_spelled_in_bytes_side_by_side_all_come_out() -> None:
    generator = random.Random(3)
    tokenizer = byte_fallback()
    words = [[tokenizer.convert_tokens_to_ids(word)] for word in ("▁hello", "▁world", "ing", ",", "▁")]
    prompt = [1, *words[0]]
    for _ in range(500):
        chunks = [*words, [2], as_bytes("中国"), as_bytes("🌊"), as_bytes("é"), as_bytes("x")]
        ids = [token_id for chunk in generator.choices(chunks, k=12) for token_id in chunk]
        got = pieces(tokenizer, prompt, ids)
        expected = behind(tokenizer, prompt, ids)
        assert "".join(got) == expected
        assert all(expected.startswith("".join(got[:k])) for k in range(len(got)))


def test_bytes_that_are_no_character_spoil_nothing_behind_them() -> None:
    generator = random.Random(4)
    tokenizer = byte_fallback()
    hello = tokenizer.convert_tokens_to_ids("▁hello")
    for _ in range(300):
        bad = [BYTES_FROM + generator.choice([0xFF, 0xC3, 0xE4, 0xF0, 0x9F]) for _ in range(generator.randint(1, 90))]
        text = "".join(pieces(tokenizer, [1, hello], [*as_bytes("中"), *bad, hello, *as_bytes("国"), hello]))
        assert text.startswith("中")
        assert text.endswith(" hello国 hello")
        assert text.count("\N{REPLACEMENT CHARACTER}") >= 1


def test_a_word_keeps_the_space_before_it_behind_the_prompt_and_behind_special_tokens() -> None:
    tokenizer = byte_fallback()
    hello, world = (tokenizer.convert_tokens_to_ids(word) for word in ("▁hello", "▁world"))
    assert pieces(tokenizer, [1, hello], [world]) == [" world", ""]
    assert "".join(pieces(tokenizer, [1, hello], [world, *[2] * 200, world])) == " world world"
    assert "".join(pieces(tokenizer, [1], [hello, 2, world])) == "hello world"


def test_special_tokens_are_left_out_or_kept(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [2, *tokenizer("hi")["input_ids"], 2]
    assert "".join(pieces(tokenizer, [5], ids)) == "hi"
    assert "".join(pieces(tokenizer, [5], ids, skip_special_tokens=False)) == "<end>hi<end>"


def test_ids_without_a_piece_have_no_text(tokenizer: PreTrainedTokenizerFast) -> None:
    hi = tokenizer("hi")["input_ids"]
    assert "".join(pieces(tokenizer, hi, [*hi, 5000, *hi])) == "hihi"


def test_incomplete_bytes_at_the_end_are_released_by_the_flush(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("ab🌊")["input_ids"]
    got = pieces(tokenizer, [5], ids[:-1])
    assert got[-1] == "\N{REPLACEMENT CHARACTER}"
    assert "".join(got[:-1]) == "ab"


def test_a_prompt_that_ends_within_a_character_harms_nothing_behind_it() -> None:
    hello = byte_fallback().convert_tokens_to_ids("▁hello")
    first, *rest = as_bytes("中")
    text = "".join(pieces(byte_fallback(), [1, hello, first], [*rest, hello, *as_bytes("国")]))
    assert text.endswith(" hello国")


@pytest.mark.parametrize("kind", ["invalid bytes", "special tokens", "special tokens within a character"])
def test_endless_bytes_and_special_tokens_cost_no_more_per_token_than_text(kind: str) -> None:
    class Counting:
        decoded = 0

        def decode(self, token_ids: list[int], **options: bool) -> str:
            Counting.decoded += len(token_ids)
            return byte_fallback().decode(token_ids, **options)

    ids = {
        "invalid bytes": [BYTES_FROM + 0xFF] * 1000,
        "special tokens": [2] * 1000,
        "special tokens within a character": [BYTES_FROM + 0xE4, *[2] * 1000],
    }[kind]
    detokenizer = IncrementalDetokenizer(Counting(), [1], skip_special_tokens=True)
    for token_id in ids:
        detokenizer.push(token_id)
    assert Counting.decoded < 1000 * 200
