"""Speech encoder-decoders that read windows of any length and write no timestamps."""

import math
import secrets
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoProcessor

from services.engine.checkpoint import (
    MODEL_ERRORS,
    Checkpoint,
    ModelRefused,
    read_config,
    read_model,
    read_tokenizer,
    refusals,
)
from services.engine.dictation.manner import Manner
from services.engine.generation.running.media import Medium
from services.engine.listening.encoder import LooseEncoder
from services.engine.listening.interface import attend_in_pages
from services.engine.listening.openings import manner_of
from services.engine.listening.places import WholeFrames, place_states
from services.engine.listening.state_count import StateCount
from services.engine.loading import LoadedModel, loaded_model
from services.engine.media.recording import Samples
from services.engine.multimodal.processor import MediumRefused

_BY_PROCESSOR = frozenset({"canary", "cohere_asr"})
"""Model types whose processor knows the decoder's first tokens."""
_FOLLOWED = frozenset({"text_decoder_lang_to_code_id"})


@dataclass(frozen=True)
class Scribe:
    """A HeardModel. Its methods may run in any thread."""

    loaded: LoadedModel
    extractor: Any
    """Makes features of samples. Calls share no state, so threads may share it."""
    manner: Manner
    seconds: float
    """Longest window."""

    alignment_heads: tuple[tuple[int, int], ...] = ()
    reserved: tuple[str, ...] = ()
    """Empty, because a caller's text never enters a prompt."""

    @property
    def rate(self) -> int:
        """Sample rate in Hz of the model's input."""
        return int(self.extractor.sampling_rate)

    @property
    def encoder(self) -> LooseEncoder:
        """Encodes windows."""
        return LooseEncoder(self.loaded.model)

    def medium(self, samples: Samples) -> Medium:
        """Returns a window of samples `[n]`, not encoded yet.

        Raises:
            MediumRefused: there are too few samples.
        """
        return _medium(self.extractor, StateCount(self.loaded.model), samples)

    def noise(self, seed: int) -> Medium:
        """See HeardModel."""
        count = round(self.seconds * self.rate)
        return self.medium(np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32))


def load_scribe(checkpoint: Checkpoint, window_seconds: float) -> Scribe:
    """Loads a model for windows of at most `window_seconds`.

    Raises:
        ModelRefused: files are missing, unsafe to load, or lack what a transcript begins with; or the model has too few
        positions for such windows.
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
        processor: Any = None
        if config.model_type in _BY_PROCESSOR:
            processor = AutoProcessor.from_pretrained(checkpoint.source, **checkpoint.shared)
        extractor = AutoFeatureExtractor.from_pretrained(checkpoint.source, **checkpoint.shared)
        tokenizer = read_tokenizer(checkpoint)
        model: Any = read_model(checkpoint, config, AutoModelForSpeechSeq2Seq)
    if not getattr(extractor, "sampling_rate", None):
        raise ModelRefused(f"{checkpoint.source} does not say how many samples a second it reads.")
    for module in model.get_decoder().modules():
        if hasattr(module, "head_dim_padding"):  # pads keys and values for kernels that are not used here
            module.head_dim_padding = 0
    places = math.inf
    if config.model_type == "moonshine_streaming":
        places = place_states(model)
        extractor = WholeFrames(extractor, model.get_encoder().embedder.frame_len)
    if config.model_type == "speecht5":
        attend_in_pages(model.get_decoder())
    loaded = loaded_model(checkpoint, model, tokenizer, followed=_FOLLOWED)
    longest = min(window_seconds, getattr(extractor, "max_audio_clip_s", window_seconds))
    silence = np.zeros(round(longest * extractor.sampling_rate), np.float32)
    try:
        states = _medium(extractor, StateCount(model), silence).token_count
    except MediumRefused as refused:
        raise ModelRefused(f"A recording {refused} ({loaded.architecture}).") from refused
    if states > places:
        fitting = math.floor(longest * places / states)
        raise ModelRefused(
            f"{loaded.architecture} hears at most {fitting} s at once: set --window-seconds to {fitting}."
        )
    return Scribe(replace(loaded, source_tokens=states), extractor, manner_of(loaded, processor), longest)


def _medium(extractor: Any, count: StateCount, samples: Samples) -> Medium:
    seconds = len(samples) / extractor.sampling_rate
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # normalization divides by 0 on silence
            found = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        inputs = {name: value.nan_to_num(0.0, 0.0, 0.0) for name, value in found.items() if isinstance(value, Tensor)}
        # Of features without a frame SeamlessM4T counts one state.
        states = count.of(inputs) if all(value.numel() for value in inputs.values()) else 0
    except MODEL_ERRORS as error:
        raise MediumRefused(f"is {seconds:.3g} s long, which the model makes nothing of") from error
    if states < 1:
        raise MediumRefused(f"is {seconds:.3g} s long, which the model makes nothing of")
    return Medium(secrets.token_bytes(16), "", states, inputs, seconds)
