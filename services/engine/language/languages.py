"""Maps the language codes of models and callers to BCP 47 tags."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from langcodes import Language
from langcodes.tag_parser import LanguageTagError, parse_tag

from sensorium.errors import InvalidArgument, Violation

_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})([-_](?P<script>[a-z]{4}))?([-_](?P<region>[a-z]{2}|[0-9]{3}))?"
    r"([-_](?![a-z]{3}([-_]|$)).*)?",  # variants and extensions, but no language in place of the first
    re.ASCII | re.IGNORECASE,
)
_LONGEST_TAG = 200
"""Characters, more than any tag needs. A limit, since the library parses a tag recursively."""
_LONGEST_LANGUAGE = 3
"""Characters of the language subtag."""
_KEPT = 4096
"""Size of the caches: more codes than any model has."""
_OTHERWISE = {"nb": "no"}
"""Codes of the same language that the library distinguishes: plain Norwegian means Bokmål."""


def is_tag(text: str) -> bool:
    """Returns whether a text is a BCP 47 tag whose parts are all valid."""
    try:
        parts = parse_tag(text) if len(text) <= _LONGEST_TAG else []
    except LanguageTagError:
        return False
    if not parts or parts[0][0] == "grandfathered" or parts[0][1].startswith("x-"):
        return bool(parts)  # one that is registered whole, or private
    found: defaultdict[str, list[str]] = defaultdict(list)
    for kind, value in parts:
        found[kind].append(value)
    language, region = found["language"][0], next(iter(found["territory"]), None)
    if len(language) > _LONGEST_LANGUAGE:
        return False
    # Only these are looked up, since the library keeps whatever it has looked up, or made by itself, for ever.
    return Language(
        language=Language.get(language).language,
        extlangs=found["extlang"],
        script=next(iter(found["script"]), None),
        territory=Language.get(f"und-{region}").territory if region else None,
        variants=found["variant"],
        extensions=found["extension"],
    ).is_valid()


def tag_of(code: str) -> str:
    """Returns the tag of a model's own code (`fra_Latn`, `fr_XX`, `fr`); empty if it names no language."""
    language = _language(code)
    return language.simplify_script().to_tag() if language else ""


def tags_of(codes: Iterable[str]) -> list[str]:
    """Returns the distinct tags, in order, of the codes that name languages."""
    return list(dict.fromkeys(filter(None, map(tag_of, codes))))


def choose(asked: str, codes: list[str], *, field: str) -> str:
    """Returns the model's code for `asked`, which is a tag or such a code.

    An empty one selects the model's only code. Varieties of a language match if the script is the same: en-GB matches
    en, but zh-TW does not match zh.

    Raises:
        InvalidArgument: No code matches, or `asked` is empty and there are several. `field` is its name in the request.
    """
    if asked in codes:
        return asked
    if not asked:
        if len(codes) == 1:
            return codes[0]
        raise InvalidArgument([Violation(field, f"must be set; the model knows {_listed(codes)}")])
    if codes == [""]:
        raise InvalidArgument([Violation(field, "must be empty: the model has one, and its files do not name it")])
    wanted = _language(asked)
    known = {code: language for code in codes if (language := _language(code))}
    for same in (lambda other: other == wanted, lambda other: _written(other) == _written(wanted)):
        if wanted and (found := next((code for code, language in known.items() if same(language)), None)):
            return found
    said = asked if len(asked) <= 40 else f"{asked[:40]}…"
    raise InvalidArgument([Violation(field, f"is {said!r}; the model knows {_listed(codes)}")])


def _language(code: str) -> Language | None:
    """Parses a code into language, script and region; None if it names no language."""
    return _known_language(code) if len(code) <= _LONGEST_TAG else None


@lru_cache(_KEPT)
def _known_language(code: str) -> Language | None:
    parts = _TAG.fullmatch(code.removesuffix("_XX"))
    if parts is None:
        return None
    named = Language.get(parts["language"].lower())
    script, region = parts["script"], parts["region"]
    language = Language(
        language=named.language,
        script=script.title() if script else named.script,
        territory=region.upper() if region else None,
    )
    return language.prefer_macrolanguage() if named.language and language.is_valid() else None


@lru_cache(_KEPT)
def _written(language: Language | None) -> tuple[str | None, str | None]:
    """Returns language and script; a missing script is inferred from language and region."""
    if language is None or language.language is None:
        return None, None
    return _OTHERWISE.get(language.language, language.language), language.maximize().script


def _listed(codes: list[str]) -> str:
    """Formats codes for a message: the first 20, and how many more there are."""
    shown = ", ".join(codes[:20])
    return f"{shown} and {len(codes) - 20} more" if len(codes) > 20 else shown
