"""Turns a transcription request into the options of a model that writes plain text for a window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sensorium.errors import InvalidArgument, Violation
from services.engine.dictation.manner import Dictated, Manner, Wish
from services.engine.generation.requests.resolution import GenerationOptions
from services.engine.language.languages import choose, tag_of
from services.speech.transcription.transcribe_ask import TranscribeAsk
from services.speech.transcription.writing_options import writing_options


@dataclass(frozen=True)
class DictationOptions:
    """Checked options of a request, as the model takes them."""

    wish: Wish
    generation: GenerationOptions
    count: int = 1
    """Number of transcripts."""


def dictation_options(
    ask: TranscribeAsk,
    dictation: Dictated,
    encode: Callable[[str], Sequence[int]],
    most: int,
    wrong: list[Violation],
) -> DictationOptions:
    """Returns the options, and adds faults of the request to `wrong`.

    `encode` tokenizes the prompt and the hotwords, each of at most `most` tokens.
    """
    manner = dictation.manner
    language = _language(ask, manner, wrong)
    generation, count = writing_options(ask, wrong)
    if ask.word_times:
        wrong.append(Violation("word_times", "does not apply: the model gives no word times"))
    target = _target(ask, manner, language, wrong)
    _check_hints(ask, dictation, encode, most, wrong)
    return DictationOptions(Wish(language, target, ask.prompt, tuple(ask.hotwords)), generation, count)


def _language(ask: TranscribeAsk, manner: Manner, wrong: list[Violation]) -> str:
    if manner.needs_language and not ask.language:
        wrong.append(Violation("language", "must be given: the model does not detect the language"))
    if ask.language and not manner.languages and not manner.has_one_language:
        wrong.append(Violation("language", "does not apply: the model detects the language, and it cannot be set"))
    return _chosen("language", ask.language, [""] if manner.has_one_language else manner.languages, wrong)


def _target(ask: TranscribeAsk, manner: Manner, language: str, wrong: list[Violation]) -> str:
    if ask.language and tag_of(ask.target_language) in (tag_of(ask.language), tag_of(language)):
        return ""
    if ask.target_language and not manner.targets:
        said = "does not apply: the model does not translate"
        wrong.append(Violation("target_language", said))
    return _chosen("target_language", ask.target_language, manner.targets, wrong)


def _chosen(field: str, asked: str, codes: Sequence[str], wrong: list[Violation]) -> str:
    """Returns the model's code for the tag `asked`; empty if either is empty. Adds a fault if no code matches."""
    if not asked or not codes:
        return ""
    try:
        return choose(asked, list(codes), field=field)
    except InvalidArgument as error:
        wrong += error.violations
        return ""


def _check_hints(
    ask: TranscribeAsk,
    dictation: Dictated,
    encode: Callable[[str], Sequence[int]],
    most: int,
    wrong: list[Violation],
) -> None:
    manner = dictation.manner
    hints = {"hotwords": (", ".join(ask.hotwords), manner.takes_hotwords), "prompt": (ask.prompt, manner.takes_prompt)}
    for field, (text, takes) in hints.items():
        if not text:
            continue
        if not takes:
            wrong.append(Violation(field, "does not apply: the model takes none"))
        elif held := next((each for each in dictation.reserved if each in text), None):
            wrong.append(Violation(field, f"holds {held!r}, one of the model's own special tokens: leave it out"))
        else:
            _check_length(field, text, encode, most, wrong)


def _check_length(
    field: str, text: str, encode: Callable[[str], Sequence[int]], most: int, wrong: list[Violation]
) -> None:
    try:
        count = len(encode(text))
    except InvalidArgument as error:  # the text is too long to be tokenized
        wrong += [Violation(field, violation.description) for violation in error.violations]
        return
    if count > most:
        wrong.append(Violation(field, f"comes to {count} tokens; the model takes at most {most} beside a recording"))
