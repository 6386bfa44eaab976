"""Lets transformers' feature extractors that are written with torchaudio be read without it."""

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
"""Classes that know no other way, by their packages: others fall back to numpy by themselves."""


@cache
def show_feature_extractors() -> None:
    """Gives extractors torch in the place of torchaudio, where that is not installed."""
    if is_torchaudio_available():
        return
    for package, name in _BY_TORCHAUDIO.items():
        with suppress(ImportError):  # of a version that does not know the model
            file = model_file(package, f"feature_extraction_{package}")
            file.torchaudio = IN_PLACE_OF_TORCHAUDIO
            file.requires_backends = _asks_for_nothing
        show_class(package, f"feature_extraction_{package}", name)


def _asks_for_nothing(*_: object) -> None:
    """Stands where an extractor would ask for torchaudio."""
