"""What a translating model needs around a text: tokens of the languages, a prefix, a forced first token.

Found in what comes with the model, in the ways such models have: language tokens (M2M100, NLLB, mBART), one pair or
target prefixes (Marian), a pair in the configuration (FSMT), task prefixes (T5).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sensorium.errors import InvalidArgument, Violation
from services.engine.language.languages import choose
from services.engine.loading import LoadedModel

_TASK = re.compile(r"translation_(\w+)_to_(\w+)")
_LANGUAGE_TOKEN = re.compile(r"_*([a-z]{2,3}(_[A-Za-z]{2,4})?)_*")
_PREFIX_TOKEN = re.compile(r">>(\w+)<<")


@dataclass(frozen=True)
class Frame:
    """What a text stands in when an encoder reads it, and how the output begins."""

    prefix: str = ""
    """Written before the text, and tokenized with it."""
    first_ids: tuple[int, ...] = ()
    last_ids: tuple[int, ...] = ()
    """Tokens before and behind those of prefix and text."""
    forced_first_id: int | None = None
    """The first token generated."""
    decoder_start_id: int | None = None
    """What the decoder starts with, where that is not the model's own."""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the model's configuration sets for this task, by the names of a generation configuration."""


class Translations(Protocol):
    """The languages a model translates between, by its own codes."""

    sources: list[str]
    targets: list[str]

    def frame(self, source: str, target: str) -> Frame | None:
        """Returns what a text of one language stands in to be translated into another; None for no such pair."""
        ...


def find_frame(translations: Translations, source: str, target: str) -> Frame:
    """Returns the frame for languages as a caller names them.

    Raises:
        InvalidArgument: the model does not know one, or does not translate between them.
    """
    chosen: dict[str, str] = {}
    wrong: list[Violation] = []
    asked = {"source_language": (source, translations.sources), "target_language": (target, translations.targets)}
    for place, (name, codes) in asked.items():
        try:
            chosen[place] = choose(name, codes, field=place)
        except InvalidArgument as error:
            wrong += error.violations
    if wrong:
        raise InvalidArgument(wrong)
    frame = translations.frame(chosen["source_language"], chosen["target_language"])
    if frame is None:
        said = f"is not translated into from {chosen['source_language']}"
        raise InvalidArgument([Violation("target_language", said)])
    return frame


def plain_frame(tokenizer: Any) -> Frame:
    """Returns the tokens that a tokenizer puts around any text."""
    marker = "a"
    inner, whole = tokenizer(marker, add_special_tokens=False)["input_ids"], tokenizer(marker)["input_ids"]
    for start in range(len(whole) - len(inner) + 1):
        if whole[start : start + len(inner)] == inner:
            return Frame(first_ids=tuple(whole[:start]), last_ids=tuple(whole[start + len(inner) :]))
    return Frame()


def find_translations(loaded: LoadedModel) -> Translations | None:
    """Returns what an encoder-decoder translates; None if its files do not say that it does."""
    tokenizer: Any = loaded.tokenizer
    config: Any = loaded.model.config
    if not loaded.decoder_start_ids:
        return None
    if isinstance(getattr(type(tokenizer), "src_lang", None), property) and (ids := dict(_language_ids(tokenizer))):
        return LanguageTokens(tokenizer, ids, loaded.decoder_start_ids)
    frame = plain_frame(tokenizer)
    if config.model_type == "marian":
        return _marian_pairs(tokenizer, frame)
    if config.model_type == "fsmt":
        return Pairs({tuple(config.langs): frame})
    return _task_pairs(task_parameters(config), frame)


def task_parameters(config: Any) -> dict[str, dict[str, Any]]:
    """Returns what a configuration says of tasks, by the name of each."""
    return getattr(config, "task_specific_params", None) or {}


class Pairs:
    """A few pairs of languages, each with its frame."""

    def __init__(self, frames: dict[tuple[str, str], Frame]) -> None:
        self._frames = frames
        self.sources = list(dict.fromkeys(source for source, _ in frames))
        self.targets = list(dict.fromkeys(target for _, target in frames))

    def frame(self, source: str, target: str) -> Frame | None:
        """See Translations."""
        return self._frames.get((source, target))


class LanguageTokens:
    """Any of many languages into any other, told by tokens of the vocabulary."""

    def __init__(self, tokenizer: Any, ids: dict[str, int], decoder_start_ids: tuple[int, ...]) -> None:
        """Asks the tokenizer what it puts around texts of each language, which is state of it, and puts that back."""
        self._ids = ids
        # A model whose decoder starts with a language has no place for another token of one.
        self._starts = bool(set(decoder_start_ids) & set(ids.values()))
        before = tokenizer.src_lang
        self._frames: dict[str, Frame] = {}
        for code in ids:
            tokenizer.src_lang = code
            self._frames[code] = plain_frame(tokenizer)
        tokenizer.src_lang = before
        self.sources = self.targets = list(ids)

    def frame(self, source: str, target: str) -> Frame | None:
        """See Translations."""
        token_id = self._ids[target]
        if self._starts:
            return replace(self._frames[source], decoder_start_id=token_id)
        return replace(self._frames[source], forced_first_id=token_id)


def _language_ids(tokenizer: Any) -> Iterator[tuple[str, int]]:
    """Yields the languages that a tokenizer has tokens for, with their ids."""
    if own := getattr(tokenizer, "lang_code_to_id", None):
        yield from own.items()
        return
    for token_id, token in tokenizer.added_tokens_decoder.items():
        if found := _LANGUAGE_TOKEN.fullmatch(token.content):
            yield found[1], token_id


def _marian_pairs(tokenizer: Any, frame: Frame) -> Pairs:
    """Returns the one pair a Marian model is for, or one for each prefix that names a target."""
    source = getattr(tokenizer, "source_lang", None) or ""
    prefixes = [found[1] for token in tokenizer.get_vocab() if (found := _PREFIX_TOKEN.fullmatch(token))]
    if not prefixes:
        return Pairs({(source, getattr(tokenizer, "target_lang", None) or ""): frame})
    return Pairs({(source, code): replace(frame, prefix=f">>{code}<< ") for code in sorted(prefixes)})


def _task_pairs(tasks: dict[str, dict[str, Any]], frame: Frame) -> Pairs | None:
    """Returns the pairs that a configuration names as tasks; None if there are none."""
    frames = {
        (found[1], found[2]): replace(frame, prefix=parameters.get("prefix", ""), parameters=parameters)
        for name, parameters in tasks.items()
        if (found := _TASK.fullmatch(name))
    }
    return Pairs(frames) if frames else None
