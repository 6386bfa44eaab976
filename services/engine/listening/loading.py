"""Loads Whisper-like models."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING

from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, read_model, read_tokenizer, refusals
from services.engine.dictation.manners import MANNERS
from services.engine.following.loading import FOLLOWERS
from services.engine.generation.running.media import Medium
from services.engine.listening.encoder import WindowEncoder
from services.engine.listening.hearing import window_medium
from services.engine.listening.openings import OPENINGS
from services.engine.listening.tokens import FOLLOWED, ListeningTokens, listening_tokens
from services.engine.loading import LoadedModel, loaded_model

_KNOWN = ("whisper",)
_IN_CONVERSATIONS = " services.multimodal asks this one in conversations."


@dataclass(frozen=True)
class ListeningModel:
    """A HeardModel with timestamps, its feature extractor and its tokens."""

    loaded: LoadedModel
    extractor: Any
    """Makes features of samples. Calls share no state, so threads may share it."""
    tokens: ListeningTokens

    @property
    def rate(self) -> int:
        """Sample rate in Hz of the model's input."""
        return int(self.extractor.sampling_rate)

    @property
    def window_frames(self) -> int:
        """Feature frames per window; the length is fixed."""
        return int(self.extractor.nb_max_frames)

    @property
    def window_seconds(self) -> float:
        """Length of a window in seconds."""
        return float(self.extractor.chunk_length)

    @property
    def encoder(self) -> WindowEncoder:
        """Encodes windows."""
        return WindowEncoder(self.loaded.model)

    @property
    def alignment_heads(self) -> tuple[tuple[int, int], ...]:
        """See ListeningTokens."""
        return self.tokens.alignment_heads

    def noise(self, seed: int) -> Medium:
        """See HeardModel."""
        shape = self.extractor.feature_size, self.window_frames
        features = np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
        return window_medium(torch.from_numpy(features), self.loaded.source_tokens)


def load_listening_model(checkpoint: Checkpoint) -> ListeningModel:
    """Loads a Whisper-like encoder-decoder.

    Raises:
        ModelRefused: its model type is not supported, or its files are missing or unsafe to load.
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
        if config.model_type not in _KNOWN:
            known = ", ".join((*_KNOWN, *OPENINGS, *MANNERS, *FOLLOWERS))
            raise ModelRefused(
                f"{checkpoint.source} is a {config.model_type} checkpoint. Supported are the generating "
                f"speech models {known}, and all frame models (CTC, TDT, RNN-T)."
                + (_IN_CONVERSATIONS if type(config) in MODEL_FOR_MULTIMODAL_LM_MAPPING else "")
            )
        extractor = AutoFeatureExtractor.from_pretrained(checkpoint.source, **checkpoint.shared)
        tokenizer = read_tokenizer(checkpoint)
        model: Any = read_model(checkpoint, config, AutoModelForSpeechSeq2Seq)
    tokens = listening_tokens(model, tokenizer, checkpoint.source)
    loaded = loaded_model(checkpoint, model, tokenizer, followed=FOLLOWED)
    # Whisper's own `generate` adds the opening's length to `max_length`, so both limits count new tokens.
    longest = model.generation_config.max_new_tokens or model.generation_config.max_length
    return ListeningModel(replace(loaded, defaults=replace(loaded.defaults, max_new_tokens=longest)), extractor, tokens)
