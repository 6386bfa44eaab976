"""Turns a transcription request into the options of a Whisper-like model: language, task, previous text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.requests.resolution import GenerationOptions
from services.engine.language.languages import choose, tag_of
from services.engine.listening.tokens import TRANSCRIBE, TRANSLATE, ListeningTokens
from services.speech.transcription.transcribe_ask import TranscribeAsk
from services.speech.transcription.writing_options import writing_options

_ENGLISH = "en"


@dataclass(frozen=True)
class ListeningOptions:
    """Checked options of a request, as the model takes them."""

    language: str
    """The model's own code; empty to detect the language, or for a model of one language."""
    task: str
    before: tuple[int, ...]
    """Tokens of the previous text, with the token that begins it; empty without one."""
    generation: GenerationOptions
    word_times: bool = False
    count: int = 1
    """Number of transcripts."""


def listening_options(
    ask: TranscribeAsk,
    tokens: ListeningTokens,
    encode: Callable[[str], Sequence[int]],
    most: int,
    wrong: list[Violation],
) -> ListeningOptions:
    """Returns the options, and adds faults of the request to `wrong`.

    `encode` tokenizes the previous text, which may have fewer than `most` tokens.
    """
    language = _language(ask, tokens, wrong)
    generation, count = writing_options(ask, wrong)
    if ask.word_times and not tokens.alignment_heads:
        wrong.append(Violation("word_times", "does not apply: the model's files name no alignment heads"))
    return ListeningOptions(
        language=language,
        task=_task(ask, tokens, language, wrong),
        before=_before(ask, tokens, encode, most, wrong),
        generation=generation,
        word_times=ask.word_times,
        count=count,
    )


def _language(ask: TranscribeAsk, tokens: ListeningTokens, wrong: list[Violation]) -> str:
    if not ask.language:
        return tokens.own_language
    try:
        return choose(ask.language, list(tokens.languages) or [""], field="language")
    except InvalidArgument as error:
        wrong += error.violations
        return ""


def _task(ask: TranscribeAsk, tokens: ListeningTokens, language: str, wrong: list[Violation]) -> str:
    """Whisper translates into English only. A target equal to the spoken language is no translation."""
    target = tag_of(ask.target_language) if ask.target_language else ""
    if not ask.target_language or (target and target in (tag_of(ask.language), tag_of(language))):
        return TRANSCRIBE
    if target.split("-")[0] == _ENGLISH and TRANSLATE in tokens.tasks:
        return TRANSLATE
    able = "translates into English only" if TRANSLATE in tokens.tasks else "does not translate"
    wrong.append(Violation("target_language", f"does not apply: the model {able}"))
    return TRANSCRIBE


def _before(
    ask: TranscribeAsk,
    tokens: ListeningTokens,
    encode: Callable[[str], Sequence[int]],
    most: int,
    wrong: list[Violation],
) -> tuple[int, ...]:
    """Returns the previous text: hotwords, then the prompt. Both bias the spelling of the transcript."""
    fields = [field for field, sent in (("hotwords", ask.hotwords), ("prompt", ask.prompt)) if sent]
    if not fields:
        return ()
    if tokens.previous is None:
        wrong += [Violation(field, "does not apply: the model takes none") for field in fields]
        return ()
    texts = [part.strip() for part in (", ".join(ask.hotwords), ask.prompt)]
    try:
        ids = encode(" " + " ".join(filter(None, texts)))
    except InvalidArgument as error:  # the text is too long to be tokenized
        wrong += [Violation(fields[-1], violation.description) for violation in error.violations]
        return ()
    if special := [i for i in ids if tokens.is_special(i)]:
        wrong.append(Violation(fields[-1], f"holds {len(special)} of the model's own special tokens: leave them out"))
        return ()
    if len(ids) >= most:
        wrong.append(Violation(fields[-1], f"comes to {len(ids)} tokens; the model takes at most {most - 1}"))
        return ()
    return (tokens.previous, *ids)
