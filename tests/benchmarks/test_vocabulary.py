from pathlib import Path

from transformers import AutoTokenizer

from benchmarks.text.vocabulary import SIZE, first_word_id, save_tokenizer, text_of


def test_a_text_of_words_is_the_ids_it_was_made_of(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = [first_word_id(), SIZE - 1, 5000, 1234]
    assert tokenizer(text_of(ids))["input_ids"] == ids
    assert tokenizer.decode(ids) == text_of(ids)


def test_every_entry_is_text_by_itself(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == SIZE
    pieces = [tokenizer.decode([token_id]) for token_id in range(SIZE)]
    assert all(piece and "\N{REPLACEMENT CHARACTER}" not in piece for piece in pieces)
