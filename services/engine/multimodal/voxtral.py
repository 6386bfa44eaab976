"""A processor for Voxtral that composes prompts without mistral-common, which transformers' own needs."""

from typing import Any

import torch
from transformers import AutoFeatureExtractor, ProcessorMixin, TokenizersBackend, VoxtralProcessor

TOKENIZERS = ("tekken.json", "tokenizer.json")
"""Files of tokenizers, Mistral's own or transformers'."""
TRANSCRIBE = "[TRANSCRIBE]"
"""The token before a transcript."""
_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}"
    "{% if not loop.first %}{{ raise_exception('A system prompt comes first.') }}{% endif %}"
    "[SYSTEM_PROMPT]{% for part in message.content %}{{ part.text }}{% endfor %}[/SYSTEM_PROMPT]"
    "{% elif message.role == 'user' %}"
    "{% if not loop.first and loop.previtem.role == 'user' %}"
    "{{ raise_exception('Turns of the user and of the assistant alternate.') }}{% endif %}"
    "[INST]{% for part in message.content %}{% if part.type == 'audio' %}"
    "{% if messages[0].role == 'system' %}"
    "{{ raise_exception('This model takes no system prompt beside recordings.') }}{% endif %}"
    "[BEGIN_AUDIO]AUDIO{% else %}{{ part.text }}{% endif %}{% endfor %}[/INST]"
    "{% elif message.role == 'assistant' and not loop.first and loop.previtem.role == 'user' %}"
    "{% for part in message.content %}{{ part.text }}{% endfor %}{{ eos_token }}"
    "{% else %}{{ raise_exception('Turns of the user and of the assistant alternate.') }}{% endif %}"
    "{% endfor %}"
)
"""The text that mistral-common writes for conversations without tools, with tokenizers of version 7."""
_WINDOW = 3000
"""Frames of a spectrogram, 30 s, as the model reads it."""
_FRAMES_PER_TOKEN = 8
"""The model halves them, and joins four."""
_FEATURES = {
    "sampling_rate": 16_000, "padding": True, "truncation": False, "pad_to_multiple_of": 480_000, "return_tensors": "pt"
}  # fmt: skip
"""The arguments of the feature extractor in transformers' own processor: whole windows, padded with silence."""


class TextVoxtralProcessor(VoxtralProcessor):
    """Reads recordings in windows of 30 s, as transformers' own, and puts their tokens into texts."""

    def __init__(self, feature_extractor: Any, tokenizer: Any) -> None:
        super().__init__(feature_extractor, tokenizer)
        if tokenizer.eos_token is None:  # tekken.json does not say which tokens these are
            tokenizer.bos_token, tokenizer.eos_token = "<s>", "</s>"
        self.chat_template = _TEMPLATE.replace("AUDIO{% else", f"{self.audio_token}{{% else")

    def transcription_request(self, language: str) -> str:
        """Returns the text that asks for a transcript, as mistral-common writes it; `language` is a code, or empty."""
        told = f"lang:{language}" if language else ""
        return f"{self.tokenizer.bos_token}[INST][BEGIN_AUDIO]{self.audio_token}[/INST]{told}{TRANSCRIBE}"

    def __call__(self, *asked: Any, **named: Any) -> Any:
        """See ProcessorMixin."""
        # Its own asks for padding, which tekken.json names no token for.
        return ProcessorMixin.__call__(self, *asked, **named | {"padding": False})

    def _process_audio(self, audio: Any, **_: Any) -> tuple[dict[str, Any], list[str]]:
        features = [self._retrieve_input_features([each], _WINDOW, **_FEATURES) for each in audio]
        told = [self.audio_token * (len(each) * _WINDOW // _FRAMES_PER_TOKEN) for each in features]
        return {"input_features": torch.cat(features)}, told

    @classmethod
    def _get_arguments_from_pretrained(cls, source: str, *_: Any, **named: Any) -> list[Any]:
        """Returns its parts; the tokenizer is read from tekken.json even where mistral-common is installed."""
        named.pop("processor_dict", None)
        return [kind.from_pretrained(source, **named) for kind in (AutoFeatureExtractor, TokenizersBackend)]
