"""Finds what a translation model needs around a text: language tokens, a prefix, a forced first token.

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
    """What surrounds a text in the encoder's input, and how the output begins."""

    prefix: str = ""
    """Text before the input, tokenized together with it."""
    first_ids: tuple[int, ...] = ()
    last_ids: tuple[int, ...] = ()
    """`first_ids` come before the tokens of prefix and text, `last_ids` after them."""
    forced_first_id: int | None = None
    """The first token generated."""
    decoder_start_id: int | None = None
    """The decoder's start token, if it is not the model's default."""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Generation settings of the model's configuration for this task."""


class Translations(Protocol):
    """The languages between which a model translates, by its own codes."""

    sources: list[str]
    targets: list[str]

    def frame(self, source: str, target: str) -> Frame | None:
        """Returns the frame for a pair of languages; None if the model does not translate between them."""
        ...


def find_frame(translations: Translations, source: str, target: str) -> Frame:
    """Returns the frame for two languages, named by a caller.

    Raises:
        InvalidArgument: The model does not know a language, or does not translate between the two.
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
    """Translation from any of many languages into any other, selected by language tokens."""

    def __init__(self, tokenizer: Any, ids: dict[str, int], decoder_start_ids: tuple[int, ...]) -> None:
        """Reads the frame of each language by setting the tokenizer's `src_lang`, and restores that afterwards."""
        self._ids = ids
        # If the decoder's start token is a language, the target language replaces it and is not forced as well.
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
    """Returns a Marian model's only pair, or one pair for each target prefix in its vocabulary."""
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
