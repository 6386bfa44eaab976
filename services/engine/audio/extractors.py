"""Makes transformers' feature extractors that need torchaudio usable without it."""

from contextlib import suppress
from functools import cache

from transformers.utils.import_utils import is_torchaudio_available

from services.engine.audio.tensor_sounds import IN_PLACE_OF_TORCHAUDIO
from services.engine.shown_class import model_file, show_class

_BY_TORCHAUDIO = {
    "fun_asr_nano": "FunAsrNanoFeatureExtractor",
    "granite_speech": "GraniteSpeechFeatureExtractor",
    "granite_speech5": "GraniteSpeech5FeatureExtractor",
}
"""Extractor classes that require torchaudio, by package. Other extractors fall back to numpy themselves."""


@cache
def show_feature_extractors() -> None:
    """If torchaudio is not installed, replaces it in these extractors by the functions of `tensor_sounds`."""
    if is_torchaudio_available():
        return
    for package, name in _BY_TORCHAUDIO.items():
        with suppress(ImportError):  # this version of transformers does not have the model
            file = model_file(package, f"feature_extraction_{package}")
            file.torchaudio = IN_PLACE_OF_TORCHAUDIO
            file.requires_backends = _asks_for_nothing
        show_class(package, f"feature_extraction_{package}", name)


def _asks_for_nothing(*_: object) -> None:
    """Replaces `requires_backends`, which would demand torchaudio."""
