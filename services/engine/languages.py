"""Languages under the names that people and models have for them, as BCP 47 tags."""

from collections.abc import Iterable

import langcodes
from langcodes.tag_parser import LanguageTagError

from sensorium.errors import InvalidArgument, Violation

_NEAR = 5
"""Distance, by CLDR's measure, up to which one variety is read as another: en-GB as en, but not zh-TW as zh."""


def tag_of(code: str) -> str:
    """Returns the tag of a model's own code (`fra_Latn`, `fr_XX`, `fr`); empty if it names no language."""
    try:
        tag = langcodes.Language.get(code.removesuffix("_XX")).to_tag()
    except LanguageTagError:
        return ""
    return langcodes.standardize_tag(tag, macro=True) if langcodes.tag_is_valid(tag) else ""


def tags_of(codes: Iterable[str]) -> list[str]:
    """Returns the tags of those codes that name languages, each once, in order."""
    return list(dict.fromkeys(filter(None, map(tag_of, codes))))


def choose(asked: str, codes: list[str], *, field: str) -> str:
    """Returns which of a model's codes is asked for, by a tag or by the code itself.

    Empty asks for the only one there is.

    Raises:
        InvalidArgument: there is none such, or no only one. `field` is the name of what was asked.
    """
    if asked in codes:
        return asked
    if not asked:
        if len(codes) == 1:
            return codes[0]
        raise InvalidArgument([Violation(field, f"must be set; the model knows {_listed(codes)}")])
    if codes == [""]:
        raise InvalidArgument([Violation(field, "must be empty: the model has one, and its files do not name it")])
    by_tag = {tag: code for code in reversed(codes) if (tag := tag_of(code))}
    wanted = tag_of(asked)
    found, _ = langcodes.closest_match(wanted, list(by_tag), max_distance=_NEAR) if wanted and by_tag else ("", 0)
    if found not in by_tag:
        raise InvalidArgument([Violation(field, f"is {asked!r}; the model knows {_listed(codes)}")])
    return by_tag[found]


def _listed(codes: list[str]) -> str:
    """Returns codes for a sentence, not all of hundreds."""
    shown = ", ".join(codes[:20])
    return f"{shown} and {len(codes) - 20} more" if len(codes) > 20 else shown
