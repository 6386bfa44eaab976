"""The codec of Higgs Audio, whose file in transformers imports torchaudio for what only reading a recording needs."""

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
    """Returns the library's class, also where torchaudio is not installed. Raises ImportError."""
    if not is_torchaudio_available():
        sys.modules[_LIBRARY] = ModuleType(_LIBRARY)  # empty, and only for as long as the file is imported
        try:
            model_file(_PACKAGE, _FILE)
        finally:
            del sys.modules[_LIBRARY]
        show_class(_PACKAGE, _FILE, _NAME)
    return getattr(model_file(_PACKAGE, _FILE), _NAME)


def windows_of(codec: Any) -> WindowedDac:
    """Returns what makes sound of codes, `[frames, codebooks]`: a DAC's decoder, whose quantizer is another."""
    return WindowedDac(codec.acoustic_decoder, lambda part: codec.decode(part.T[None]).audio_values[0, 0])
