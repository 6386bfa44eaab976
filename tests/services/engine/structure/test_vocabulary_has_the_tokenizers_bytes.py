import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from services.engine.structure.vocabulary import Vocabulary, VocabularyUnreadable
from tests.services.engine.generation.vocabularies import as_bytes, byte_fallback
from tests.services.structures import compiled, possible, walk, wanted
from tests.tiny.language_models import tokenizer


def word_pieces() -> PreTrainedTokenizerFast:
    pieces = ["[UNK]", *"abc", *(f"##{letter}" for letter in "abc"), "bab"]
    fast = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    fast.decoder = decoders.WordPiece(cleanup=False)
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=fast, unk_token="[UNK]")


def unigrams() -> PreTrainedTokenizerFast:
    pieces = [("<unk>", 0.0), *((f"▁{letter}", -1.0) for letter in "abc"), *((letter, -2.0) for letter in "abc")]
    fast = Tokenizer(models.Unigram(pieces, unk_id=0))
    fast.decoder = decoders.Metaspace()
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=fast, unk_token="<unk>")


KINDS = {"bytes": tokenizer, "byte fallback": byte_fallback, "word pieces": word_pieces, "unigrams": unigrams}


@pytest.mark.parametrize("kind", KINDS)
def test_a_structure_admits_what_the_tokenizer_decodes_to_it(kind: str) -> None:
    known = KINDS[kind]()
    structure = compiled(wanted("regex", "( ?[abc]){4}"), Vocabulary(known))
    anchor = known("a", add_special_tokens=False)["input_ids"]
    texts = {known.decode([*anchor, *walk(structure, seed, 20)[0]]) for seed in range(20)}
    assert len(texts) > 3
    for text in texts:
        assert text.startswith("a")
        assert len(text.replace(" ", "")) == 5
        assert set(text) <= set(" abc")


def test_tokens_of_a_character_are_admitted_one_by_one() -> None:
    known = byte_fallback()
    state = compiled(wanted("regex", "東"), Vocabulary(known)).begin()
    for token_id in as_bytes("東"):
        assert possible(state) == [token_id]
        assert not state.accepting
        assert state.advance([token_id]) == 1
    assert state.complete


def test_special_tokens_are_no_text_and_added_ones_are() -> None:
    known = tokenizer()
    known.add_tokens(["<think>", "  "])
    structure = compiled(wanted("regex", "(?s:.{1,30})"), Vocabulary(known))
    special = {i for i, token in known.added_tokens_decoder.items() if token.special}
    added = set(known.convert_tokens_to_ids(["<think>", "  "]))
    ids = set(possible(structure.begin()))
    assert len(special) == 6
    assert not ids & special
    assert added <= ids


def test_two_tokens_of_one_text_are_both_admitted() -> None:
    known = tokenizer()
    known.add_tokens(["#"])  # which the vocabulary has already, in its own place
    fast = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "Ġa": 2}, merges=[]))
    fast.decoder = decoders.ByteLevel()
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    twice = PreTrainedTokenizerFast(tokenizer_object=fast)
    twice.add_tokens([" a"])
    assert possible(compiled(wanted("regex", " a"), Vocabulary(twice)).begin()) == [2, 3]


def test_a_tokenizer_that_changes_text_is_refused() -> None:
    fast = Tokenizer(models.BPE(vocab={"a</w>": 0, "b": 1, "c": 2}, merges=[], end_of_word_suffix="</w>"))
    fast.decoder = decoders.BPEDecoder()
    with pytest.raises(VocabularyUnreadable, match="changes text"):
        Vocabulary(PreTrainedTokenizerFast(tokenizer_object=fast))
