"""The manners of the known kinds of multimodal decoders, by model type."""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from services.engine.checkpoint import ModelRefused
from services.engine.dictation.manner import Manner, Part, Wish, Written
from services.engine.dictation.objects import read_objects
from services.engine.language.languages import tag_of
from services.engine.language.texts import Chat
from services.engine.loading import LoadedModel
from services.engine.multimodal.prompts import PromptComposer
from services.engine.multimodal.voxtral import TRANSCRIBE

_UNHEARD = np.zeros(1, np.float32)
"""A stand-in recording for prompts without audio."""
_VOXTRALS = ("en", "es", "fr", "pt", "hi", "de", "nl", "it")
"""Languages of Voxtral, by its publication."""
_GRANITES = {
    "en": "English", "fr": "French", "de": "German", "es": "Spanish", "pt": "Portuguese", "it": "Italian",
    "ja": "Japanese",
}  # fmt: skip
"""Target languages of Granite Speech, by the names its prompts use."""
_GRANITES_REQUEST = "can you transcribe the speech into a written format?"
"""The instruction that Granite Speech was trained with."""


def manner_of(loaded: LoadedModel, composer: PromptComposer) -> Manner:
    """Returns the manner of a model whose type is in MANNERS. Raises ModelRefused if its files lack something."""
    return MANNERS[loaded.model.config.model_type](loaded, composer)


class _Asking:
    """Wraps a processor so that its chat template returns text: transformers 5.17 only tokenizes such requests."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def apply_chat_template(self, conversations: Any, **named: Any) -> Any:
        return self._processor.apply_chat_template(conversations, **named | {"tokenize": False})


def _own_request(processor: Any, **wish: Any) -> str:
    """Returns the prompt that the processor writes for a request. Empty options are left out."""
    given = {name: value for name, value in wish.items() if value}
    asking: Any = _Asking(processor)
    (prompt,) = type(processor).apply_transcription_request(asking, _UNHEARD, **given)
    return prompt


def _voxtral(loaded: LoadedModel, _: PromptComposer) -> Manner:
    processor = _processor(loaded)
    if TRANSCRIBE not in loaded.tokenizer.get_vocab():
        raise ModelRefused(f"The tokenizer of {loaded.architecture} has no {TRANSCRIBE}, which asks for a transcript.")
    return Manner(lambda wish: processor.transcription_request(wish.language), languages=_VOXTRALS)


def _qwen3_asr(loaded: LoadedModel, _: PromptComposer) -> Manner:
    processor = _processor(loaded)
    codes = {name: code for code, name in _language_names(processor).items()}

    def request(wish: Wish) -> str:
        hints = " ".join(filter(None, (", ".join(wish.hotwords), wish.prompt)))
        return _own_request(processor, language=wish.language, prompt=hints)

    def read(text: str) -> Written:
        found: dict[str, str | None] = processor.parse_output(text)
        return Written(found["transcription"] or "", codes.get(found["language"] or "", ""))

    languages = list(codes.values())
    return Manner(request, read, languages, takes_prompt=True, takes_hotwords=True, marker="<asr_text>")


def _fun_asr_nano(loaded: LoadedModel, _: PromptComposer) -> Manner:
    processor = _processor(loaded)

    def request(wish: Wish) -> str:
        hotwords = list(wish.hotwords)
        return _own_request(processor, language=wish.language, prompt=wish.prompt, keywords=hotwords)

    languages = [code for code in _language_names(processor) if tag_of(code)]
    return Manner(request, languages=languages, takes_prompt=True, takes_hotwords=True)


def _omniasr(loaded: LoadedModel, _: PromptComposer) -> Manner:
    processor = _processor(loaded)
    named = (re.fullmatch(r"<\|lang:(.+)\|>", token) for token in loaded.tokenizer.get_vocab())
    own = sorted(found[1] for found in named if found and tag_of(found[1]))
    short: Mapping[str, str] = _module_of(processor).ISO_639_1_TO_LANGUAGE
    languages = [*(code for code, meant in short.items() if meant in own), *own]
    return Manner(lambda wish: _own_request(processor, language=wish.language), languages=languages)


def _glmasr(loaded: LoadedModel, _: PromptComposer) -> Manner:
    processor = _processor(loaded)
    return Manner(lambda _: _own_request(processor))


def _audioflamingo3(loaded: LoadedModel, _: PromptComposer) -> Manner:
    """Its answers wrap the transcript in a sentence, which the processor can remove."""
    processor = _processor(loaded)
    return Manner(
        lambda _: _own_request(processor), lambda text: Written(processor._strip_assistant_prefix_and_quotes(text))
    )


def _moss(loaded: LoadedModel, _: PromptComposer) -> Manner:
    processor = _processor(loaded)

    def read(text: str) -> Written:
        try:
            found: Any = processor.extract_speaker_dict(text)
        except (ValueError, OverflowError):  # a time is not a number
            found = text
        if isinstance(found, str):
            return Written(found.strip())
        parts = [Part(part["Content"], part["Start"], part["End"]) for part in found]
        return Written(" ".join(part.text for part in parts).strip(), parts=parts)

    return Manner(lambda wish: _own_request(processor, keywords=list(wish.hotwords)), read, takes_hotwords=True)


def _vibevoice_asr(loaded: LoadedModel, _: PromptComposer) -> Manner:
    processor = _processor(loaded)

    def request(wish: Wish) -> str:
        return _own_request(processor, prompt=" ".join(filter(None, (", ".join(wish.hotwords), wish.prompt))))

    return Manner(request, read_objects, takes_prompt=True, takes_hotwords=True)


def _granite_speech(loaded: LoadedModel, composer: PromptComposer) -> Manner:
    """Version 3.3, recognizable by its adapter, was not trained with hotwords."""

    def request(wish: Wish) -> str:
        asked = f"translate the speech to {_GRANITES[wish.target]}" if wish.target else _GRANITES_REQUEST
        return _turn(composer, f"{asked} Keywords: {', '.join(wish.hotwords)}" if wish.hotwords else asked)

    hotwords = not getattr(loaded.model.config, "has_lora_adapter", False)
    return Manner(request, targets=list(_GRANITES), takes_hotwords=hotwords)


def _granite_speech_plus(_: LoadedModel, composer: PromptComposer) -> Manner:
    """It neither translates nor takes hotwords."""
    return Manner(lambda _: _turn(composer, _GRANITES_REQUEST))


MANNERS: Mapping[str, Callable[[LoadedModel, PromptComposer], Manner]] = {
    "voxtral": _voxtral,
    "qwen3_asr": _qwen3_asr,
    "fun_asr_nano": _fun_asr_nano,
    "omniasr": _omniasr,
    "glmasr": _glmasr,
    "audioflamingo3": _audioflamingo3,
    "moss_transcribe_diarize": _moss,
    "vibevoice_asr": _vibevoice_asr,
    "granite_speech": _granite_speech,
    "granite_speech_plus": _granite_speech_plus,
}


def _turn(composer: PromptComposer, asked: str) -> str:
    """Returns the prompt of a user turn with a recording and a text."""
    parts = [{"type": "audio"}, {"type": "text", "text": asked}]
    return composer.written(Chat([{"role": "user", "content": parts}], [], continue_last=False))


def _processor(loaded: LoadedModel) -> Any:
    assert loaded.media is not None
    return loaded.media.own


def _language_names(processor: Any) -> Mapping[str, str]:
    """Returns the language names of a processor's prompts, by code."""
    return _module_of(processor).LANGUAGE_CODE_TO_NAME


def _module_of(processor: Any) -> Any:
    return import_module(type(processor).__module__)
