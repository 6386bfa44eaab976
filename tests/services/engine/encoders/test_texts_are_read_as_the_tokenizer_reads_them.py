import threading
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPConfig, PerceiverTokenizer, PreTrainedTokenizerFast, ViltConfig, ViTConfig

from sensorium.errors import InvalidArgument
from services.engine.encoders.reader import TextReader, embedded_tokens
from services.engine.language.texts import Truncation
from tests.e2e.understanding import random_texts
from tests.tiny.encoders import CONTEXT, bytelevel, wordpiece


def bare() -> PreTrainedTokenizerFast:
    """One without special tokens, which knows no other words and reads them as nothing."""
    made = Tokenizer(models.WordLevel({"a": 0, "dog": 1, "fox": 2}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=CONTEXT)


TOKENIZERS = {"wordpiece": wordpiece, "bytelevel": bytelevel, "slow": PerceiverTokenizer}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]()


def test_texts_and_pairs_have_the_tokenizers_own_tokens(tokenizer: Any) -> None:
    reader = TextReader(tokenizer, 10_000)
    texts = [*random_texts(60), " ", "\u0000", "[SEP] [MASK]", "</s><mask>", "x" * 500]
    for first, second in zip(texts, reversed(texts), strict=True):
        own = tokenizer(first, second)
        found = reader.pair(reader.whole_part(first, field="a"), reader.whole_part(second, field="b"))
        assert list(found.ids) == own["input_ids"]
        assert found.type_ids == own.get("token_type_ids")
        assert found.type_ids is None or list(found.type_ids) == own["token_type_ids"]
        whole = reader.encode(first, second)
        assert list(found.sequences) == list(whole.sequences)
        if tokenizer.is_fast:
            assert found.offsets == whole.offsets
            assert found.offsets == tokenizer(first, second, return_offsets_mapping=True)["offset_mapping"]
            assert list(found.sequences) == own.sequence_ids()
        else:
            assert found.offsets is None
        assert list(reader.encode(first).ids) == tokenizer(first)["input_ids"]


def test_a_slow_tokenizers_texts_are_told_apart() -> None:
    reader = TextReader(PerceiverTokenizer(), 100)
    assert list(reader.encode("ab").sequences) == [None, 0, 0, None]
    assert list(reader.encode("ab", "c").sequences) == [None, 0, 0, None, 1, None]
    assert list(reader.encode("a[MASK]b").sequences) == [None, 0, 0, 0, None]


@pytest.mark.parametrize("truncation", [Truncation.START, Truncation.END])
def test_what_is_too_long_is_cut_as_the_tokenizer_cuts(tokenizer: Any, truncation: Truncation) -> None:
    tokenizer.truncation_side = "left" if truncation is Truncation.START else "right"
    reader, text = TextReader(tokenizer, CONTEXT), " ".join(random_texts(30))
    own = tokenizer(text, truncation=True, max_length=CONTEXT)["input_ids"]
    reader = TextReader(tokenizer, CONTEXT)  # and unsets what was set for that
    assert list(reader.read(text, truncation, field="texts[0]").ids) == own
    short, long = reader.whole_part("dog fox", field="query"), reader.whole_part(text, field="documents[0]")
    own = tokenizer("dog fox", text, truncation="only_second", max_length=CONTEXT)["input_ids"]
    reader = TextReader(tokenizer, CONTEXT)
    assert list(reader.read_pair(short, long, truncation, cut=1).ids) == own
    own = tokenizer(text, "dog fox", truncation="only_first", max_length=CONTEXT)["input_ids"]
    reader = TextReader(tokenizer, CONTEXT)
    assert list(reader.read_pair(long, short, truncation, cut=0).ids) == own


def fields(call: Any, *arguments: Any, **named: Any) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        call(*arguments, **named)
    return {violation.field: violation.description for violation in caught.value.violations}


def test_what_must_not_be_cut_is_refused(tokenizer: Any) -> None:
    reader = TextReader(tokenizer, CONTEXT, advice="be brief")
    wrong = fields(reader.read, "dog " * CONTEXT, Truncation.NONE, field="texts[3]")
    assert "the model reads at most 64; be brief" in wrong["texts[3]"]
    wrong = fields(reader.read, "dog " * 100_000, Truncation.NONE, field="texts[3]")
    assert "400000 characters" in wrong["texts[3]"]
    for truncation, advice in ((Truncation.NONE, "be brief"), (None, "shorten it")):
        wrong = fields(reader.part, "dog " * 70, truncation, field="query")
        assert wrong["query"].endswith(f"the model reads at most 64; {advice}")
    short, long = reader.whole_part("dog fox", field="query"), reader.whole_part("fox " * 70, field="documents[0]")
    assert list(fields(reader.read_pair, short, long, Truncation.NONE, cut=1)) == ["documents[0]"]
    # What is not cut and leaves no room is to blame, whatever may be cut.
    for truncation in Truncation:
        assert list(fields(reader.read_pair, long, short, truncation, cut=1)) == ["documents[0]"]


def test_a_text_of_no_token_is_refused() -> None:
    reader = TextReader(bare(), CONTEXT)
    assert fields(reader.read, " \t ", Truncation.NONE, field="texts[0]") == {"texts[0]": "comes to no token"}
    assert list(reader.read("dog", Truncation.NONE, field="texts[0]").ids) == [1]


def test_a_token_that_the_model_has_no_embedding_for_is_refused() -> None:
    """As tokenizers with tokens that were added later make them, and embeddings that were not resized."""
    reader = TextReader(bare(), CONTEXT, vocabulary_size=2)
    said = "has the token 'fox', which the model has no embedding for"
    assert fields(reader.read, "dog fox", Truncation.NONE, field="texts[0]") == {"texts[0]": said}
    assert fields(reader.whole, "fox", field="texts[2]") == {"texts[2]": said}
    assert fields(reader.part, "fox a", Truncation.END, field="documents[1]") == {"documents[1]": said}
    assert list(reader.read("a dog", Truncation.NONE, field="texts[0]").ids) == [0, 1]


@pytest.mark.parametrize(
    ("config", "known"),
    [(CLIPConfig(text_config={"vocab_size": 7}), 7), (ViltConfig(vocab_size=8), 8), (ViTConfig(), None)],
)
def test_models_of_more_than_texts_tell_how_many_tokens_they_know(config: Any, known: int | None) -> None:
    model: Any = SimpleNamespace(config=config)
    assert embedded_tokens(model) == known


def test_long_texts_are_cut_before_all_of_them_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer: Any = wordpiece()
    reader, read = TextReader(tokenizer, CONTEXT), list[int]()
    encode = reader.encode
    monkeypatch.setattr(reader, "encode", lambda text, **named: read.append(len(text)) or encode(text, **named))
    text = "the lazy dog " * 100_000
    assert len(reader.read(text, Truncation.END, field="texts[0]")) == CONTEXT
    assert len(reader.read(text, Truncation.START, field="texts[0]")) == CONTEXT
    assert len(reader.part(text, Truncation.END, field="documents[0]").tokens) == CONTEXT
    assert max(read) < 10_000


def test_threads_share_a_reader() -> None:
    reader, texts = TextReader(wordpiece(), CONTEXT), random_texts(40)
    expected = [list(reader.encode(text).ids) for text in texts]
    found: list[bool] = []

    def work() -> None:
        for _ in range(10):
            found.append([list(reader.encode(text).ids) for text in texts] == expected)
            reader.read("dog " * 500, Truncation.END, field="texts[0]")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 40
