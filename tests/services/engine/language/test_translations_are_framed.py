from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium.errors import InvalidArgument
from services.engine.language.translation import Frame, LanguageTokens, find_frame, find_translations, plain_frame
from services.engine.loading import LoadedModel, load_language_model
from tests.tiny.language_models import write_checkpoint
from tests.tiny.translators import SENTENCES, write_m2m, write_marian, write_nllb, write_t5


def load(folder: Path) -> LoadedModel:
    return load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="auto")


def framed(loaded: LoadedModel, frame: Frame, text: str) -> list[int]:
    tokenizer: Any = loaded.tokenizer
    ids = tokenizer(frame.prefix + text, add_special_tokens=False)["input_ids"]
    return [*frame.first_ids, *ids, *frame.last_ids]


@pytest.mark.parametrize(
    ("write", "source", "target"),
    [(write_m2m, "de", "fr"), (write_m2m, "en", "zu"), (write_nllb, "fra_Latn", "zho_Hant")],
    ids=["m2m", "m2m other", "nllb"],
)
def test_language_tokens_stand_where_the_tokenizer_puts_them(
    tmp_path: Path, write: Callable[[Path], Path], source: str, target: str
) -> None:
    loaded = load(write(tmp_path))
    translations = find_translations(loaded)
    assert translations is not None
    frame = find_frame(translations, source, target)
    tokenizer: Any = loaded.tokenizer
    before = tokenizer.src_lang
    for text in SENTENCES:
        own = tokenizer._build_translation_inputs(text, return_tensors=None, src_lang=source, tgt_lang=target)
        assert framed(loaded, frame, text) == own["input_ids"]
        assert frame.forced_first_id == own["forced_bos_token_id"]
    tokenizer.src_lang = before
    assert frame.decoder_start_id is None


def test_looking_for_languages_leaves_the_tokenizer_as_it_was(tmp_path: Path) -> None:
    loaded = load(write_m2m(tmp_path))
    tokenizer: Any = loaded.tokenizer
    before = tokenizer(SENTENCES[0])["input_ids"]
    find_translations(loaded)
    assert tokenizer(SENTENCES[0])["input_ids"] == before


def test_a_decoder_that_starts_with_a_language_starts_with_another(tmp_path: Path) -> None:
    loaded = load(write_nllb(tmp_path))
    tokenizer: Any = loaded.tokenizer
    ids = {code: tokenizer.convert_tokens_to_ids(code) for code in ("eng_Latn", "fra_Latn")}
    translations = LanguageTokens(tokenizer, ids, decoder_start_ids=(ids["fra_Latn"],))
    frame = translations.frame("fra_Latn", "eng_Latn")
    assert frame is not None
    assert (frame.decoder_start_id, frame.forced_first_id) == (ids["eng_Latn"], None)


def test_one_pair_needs_no_names_and_knows_its_own(tmp_path: Path) -> None:
    loaded = load(write_marian(tmp_path))
    translations = find_translations(loaded)
    assert translations is not None
    frame = find_frame(translations, "", "")
    assert find_frame(translations, "en", "de-AT") == frame
    tokenizer: Any = loaded.tokenizer
    for text in SENTENCES:
        assert framed(loaded, frame, text) == tokenizer(text)["input_ids"]
    with pytest.raises(InvalidArgument) as error:
        find_frame(translations, "de", "en")
    assert [violation.field for violation in error.value.violations] == ["source_language", "target_language"]


def test_a_target_is_told_by_a_prefix_where_there_are_several(tmp_path: Path) -> None:
    loaded = load(write_marian(tmp_path, "fra", "pob"))
    translations = find_translations(loaded)
    assert translations is not None
    tokenizer: Any = loaded.tokenizer
    frame = find_frame(translations, "", "fr")
    assert framed(loaded, frame, SENTENCES[0]) == tokenizer(f">>fra<< {SENTENCES[0]}")["input_ids"]
    with pytest.raises(InvalidArgument, match="must be set; the model knows fra, pob"):
        find_frame(translations, "", "")


def test_tasks_of_the_configuration_are_pairs(tmp_path: Path) -> None:
    translations = find_translations(load(write_t5(tmp_path)))
    assert translations is not None
    frame = find_frame(translations, "", "de")
    assert frame.prefix == "translate English to German: "
    assert frame.parameters["max_length"] == 25
    assert translations.frame("de", "en") is None
    assert (translations.sources, translations.targets) == (["en"], ["de", "fr"])


def test_languages_without_a_way_between_them_are_refused(tmp_path: Path) -> None:
    translations = find_translations(load(write_t5(tmp_path)))
    assert translations is not None
    translations.sources.append("de")
    with pytest.raises(InvalidArgument, match="is not translated into from de"):
        find_frame(translations, "de", "fr")


@pytest.mark.parametrize("name", ["bart", "llama"])
def test_other_models_do_not_translate(tmp_path: Path, name: str) -> None:
    loaded = load(write_checkpoint(tmp_path, name))
    assert find_translations(loaded) is None
    assert plain_frame(loaded.tokenizer) == Frame()
