"""The codec of Higgs Audio. Its file in transformers imports torchaudio, which only encoding needs."""

import sys
from types import ModuleType
from typing import Any

from transformers.utils.import_utils import is_torchaudio_available

from services.engine.shown_class import model_file, show_class
from services.engine.speech_synthesis.vocoder import WindowedDac

_PACKAGE = "higgs_audio_v2_tokenizer"
_FILE = f"modeling_{_PACKAGE}"
_NAME = "HiggsAudioV2TokenizerModel"
_LIBRARY = "torchaudio"


def codec_class() -> Any:
    """Returns the library's class, even if torchaudio is not installed. Raises ImportError."""
    if not is_torchaudio_available():
        sys.modules[_LIBRARY] = ModuleType(_LIBRARY)  # an empty stand-in, only while the file is imported
        try:
            model_file(_PACKAGE, _FILE)
        finally:
            del sys.modules[_LIBRARY]
        show_class(_PACKAGE, _FILE, _NAME)
    return getattr(model_file(_PACKAGE, _FILE), _NAME)


def windows_of(codec: Any) -> WindowedDac:
    """Returns a windowed decoder of codes `[frames, codebooks]`; it is DAC's decoder with another quantizer."""
    return WindowedDac(codec.acoustic_decoder, lambda part: codec.decode(part.T[None]).audio_values[0, 0])
