from types import SimpleNamespace
from typing import Any

from tokenizers import AddedToken

from services.engine.listening.tokens import listening_tokens
from tests.tiny.scribes import scribe_tokenizer


def test_what_only_the_tokenizers_own_file_calls_special_is_no_text() -> None:
    tokenizer = scribe_tokenizer(("<|en|>",))
    tokenizer.add_tokens([AddedToken("<|nocaptions|>", special=True), AddedToken("fox")])
    names = ["<|en|>", "<|nocaptions|>", "fox"]
    ids = tokenizer.convert_tokens_to_ids(names)
    own = SimpleNamespace(no_timestamps_token_id=ids[-1], decoder_start_token_id=1, eos_token_id=2)
    model: Any = SimpleNamespace(generation_config=own, config=SimpleNamespace())
    tokens = listening_tokens(model, tokenizer, "a model")
    assert [tokens.is_special(number) for number in ids] == [True, True, False]
