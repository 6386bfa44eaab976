import contextlib
from itertools import product

import pytest
from langcodes import Language

from sensorium.errors import InvalidArgument
from services.engine.language.languages import choose, is_tag, tag_of, tags_of

NLLB = ["eng_Latn", "fra_Latn", "zho_Hans", "zho_Hant", "arb_Arab", "pes_Arab"]
MBART = ["en_XX", "fr_XX", "zh_CN", "pt_XX", "ro_RO"]
M2M = ["en", "fr", "zh", "no"]


@pytest.mark.parametrize(
    ("asked", "codes", "code"),
    [
        ("fr", NLLB, "fra_Latn"),
        ("fra", NLLB, "fra_Latn"),
        ("fra_Latn", NLLB, "fra_Latn"),
        ("fr-CA", NLLB, "fra_Latn"),
        ("zh-TW", NLLB, "zho_Hant"),
        ("zh", NLLB, "zho_Hans"),
        ("ar", NLLB, "arb_Arab"),
        ("fa", NLLB, "pes_Arab"),
        ("en-GB", MBART, "en_XX"),
        ("pt-BR", MBART, "pt_XX"),
        ("zh-Hans", MBART, "zh_CN"),
        ("ro", MBART, "ro_RO"),
        ("nb", M2M, "no"),
        ("no", ["nno_Latn", "nob_Latn"], "nob_Latn"),
        ("EN", M2M, "en"),
        ("en-GB-oxendict", MBART, "en_XX"),
        ("fr-u-nu-latn", M2M, "fr"),
        ("en-AU", ["en_US", "en_GB"], "en_US"),
        ("en-GB", ["en_US", "en_GB"], "en_GB"),
        ("iw", ["he"], "he"),
        ("sh", ["sr", "sr_Latn"], "sr_Latn"),
        ("", ["de"], "de"),
        ("", [""], ""),
    ],
)
def test_a_tag_or_a_code_finds_the_models_own_code(asked: str, codes: list[str], code: str) -> None:
    assert choose(asked, codes, field="source_language") == code


@pytest.mark.parametrize(
    ("asked", "codes", "words"),
    [
        ("de", NLLB, "the model knows eng_Latn, fra_Latn"),
        ("zh-TW", M2M, "zh-TW"),
        ("German", M2M, "German"),
        ("_", M2M, "knows"),
        ("x" * 200, M2M, "knows"),
        ("", M2M, "must be set"),
        ("en", [""], "must be empty"),
        ("de", [f"a{i:02}" for i in range(30)], "and 10 more"),
    ],
)
def test_any_other_is_refused_by_the_name_of_its_field(asked: str, codes: list[str], words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        choose(asked, codes, field="target_language")
    (violation,) = error.value.violations
    assert violation.field == "target_language"
    assert words in violation.description


def test_what_is_told_of_languages_is_understood_when_asked() -> None:
    for codes in (NLLB, MBART, M2M):
        tags = tags_of(codes)
        assert len(tags) == len(codes)
        assert [choose(tag, codes, field="x") for tag in tags] == codes
    assert tags_of(["en_XX", "eng_Latn", "ROMANCE", ""]) == ["en"]
    assert tag_of("no such language") == ""


@pytest.mark.parametrize("asked", ["hr", "zh-yue", "zh-min-nan", "yue", "qqq", "en-Abcd", "en-ZZZ", "nn"])
def test_a_relative_is_not_taken_for_a_language(asked: str) -> None:
    with pytest.raises(InvalidArgument, match="knows"):
        choose(asked, ["sr", "bs", "zh", "en", "no"], field="source_language")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("de", True),
        ("deu_Latn", True),
        ("EN-uk", True),
        ("und", True),
        ("x-elvish", True),
        ("i-klingon", True),
        ("zh-yue-Hant-HK", True),
        ("de-DE-1996-u-co-phonebk-x-mine", True),
        ("", False),
        ("English", False),
        ("jp", False),
        ("en-000", False),
        ("de-1996-1996", False),
        ("root", False),
        ("en\x00", False),
        ("de" + "-1996" * 3000, False),
        ("x-" + "a" * 8 + "-a" * 3000, False),
    ],
)
def test_a_tag_is_told_from_other_texts(text: str, known: bool) -> None:
    assert is_tag(text) is known


def test_what_callers_ask_for_is_not_kept() -> None:
    tag_of("en-GB")
    size = len(Language._PARSE_CACHE), len(Language._INSTANCES)
    for i in range(100, 1100):
        for asked in (f"en-A{i % 10}cd", f"en-x-{i}", f"fr-Latn-x{i}", f"EN_gb_{i:08}", f"en-{'abcd'[i % 4]}-{i}"):
            is_tag(asked)
            with contextlib.suppress(InvalidArgument):
                choose(asked, NLLB, field="source_language")
    for letters in product("abc", repeat=4):
        asked = f"en-{''.join(letters)}"
        assert not is_tag(asked)
        with contextlib.suppress(InvalidArgument):
            choose(asked, NLLB, field="source_language")
    assert len(Language._PARSE_CACHE) < size[0] + 40
    assert len(Language._INSTANCES) < size[1] + 40
