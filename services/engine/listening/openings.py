"""The decoder's first tokens for speech encoder-decoders without timestamps, by model type."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from services.engine.checkpoint import ModelRefused
from services.engine.dictation.manner import Manner, Wish
from services.engine.language.languages import tag_of
from services.engine.loading import LoadedModel


@dataclass(frozen=True)
class Opening:
    """The tokens that a decoder starts with."""

    start_ids: tuple[int, ...]


def manner_of(loaded: LoadedModel, processor: Any) -> Manner:
    """Returns the manner of a model whose type is in OPENINGS; its requests are Openings.

    Raises:
        ModelRefused: the model's files lack something it needs.
    """
    return OPENINGS[loaded.model.config.model_type](loaded, processor)


def _plain(loaded: LoadedModel, _: Any) -> Manner:
    """Each checkpoint has one language, which its files do not name."""
    opening = Opening(loaded.decoder_start_ids)
    return Manner(lambda _: opening, has_one_language=True)


def _cohere_asr(loaded: LoadedModel, processor: Any) -> Manner:
    codes = import_module("transformers.models.cohere_asr.processing_cohere_asr").LANGUAGES
    return Manner(
        lambda wish: _begun(loaded, processor.get_decoder_prompt_ids(wish.language)),
        languages=_with_tokens(processor, codes),
        needs_language=True,
    )


def _canary(loaded: LoadedModel, processor: Any) -> Manner:
    codes = import_module("transformers.models.canary.processing_canary").LANGUAGE_CODE_TO_NAME
    known = _with_tokens(processor, codes)

    def request(wish: Wish) -> Opening:
        (prompt,) = processor.apply_transcription_request(
            "unread", source_language=wish.language, target_language=wish.target or wish.language, tokenize=False
        )
        return _begun(loaded, processor.tokenizer(prompt)["input_ids"])

    return Manner(request, languages=known, targets=known, needs_language=True)


def _seamless(loaded: LoadedModel, _: Any) -> Manner:
    """The opening names the language to write, which may be the spoken one; the spoken one is detected."""
    codes: Mapping[str, int] = getattr(loaded.model.generation_config, "text_decoder_lang_to_code_id", None) or {}
    known = [code for code in codes if tag_of(code)]
    if not known:
        raise ModelRefused(
            f"The generation configuration of {loaded.architecture} names no languages to write in "
            "(text_decoder_lang_to_code_id)."
        )

    def request(wish: Wish) -> Opening:
        return _begun(loaded, [codes[wish.target or wish.language]])

    return Manner(request, languages=known, targets=known, needs_language=True)


def _begun(loaded: LoadedModel, ids: Sequence[int]) -> Opening:
    """Returns the opening that `generate` makes of the given decoder_input_ids."""
    return Opening((*(loaded.decoder_start_ids if ids[0] not in loaded.decoder_start_ids else ()), *ids))


def _with_tokens(processor: Any, codes: Iterable[str]) -> Sequence[str]:
    vocabulary = processor.tokenizer.get_vocab()
    return sorted(code for code in codes if f"<|{code}|>" in vocabulary)


OPENINGS: Mapping[str, Callable[[LoadedModel, Any], Manner]] = {
    "moonshine": _plain,
    "moonshine_streaming": _plain,
    "speech_to_text": _plain,
    "speecht5": _plain,
    "cohere_asr": _cohere_asr,
    "canary": _canary,
    "seamless_m4t": _seamless,
    "seamless_m4t_v2": _seamless,
}
"""Manners by model type."""
