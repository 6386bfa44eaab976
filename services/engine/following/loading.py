"""Loads streaming recognizers."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSpeechSeq2Seq, PreTrainedTokenizerBase, TokenizersBackend

from services.engine.audio.loading import LoadedAudioModel, load_audio_model
from services.engine.checkpoint import MODEL_ERRORS, Checkpoint, ModelRefused, find_file, refusals
from services.engine.following.kyutai import KyutaiModel
from services.engine.following.model import FollowingModel
from services.engine.following.row_cache import Room
from services.engine.following.voxtral import StreamingPrompt, VoxtralModel
from services.engine.loading import warn_of_ignored_defaults

_PADDING = "[STREAMING_PAD]"
_TOKENS_PER_SECOND = 12.5
_FOLLOWED = frozenset(
    {"eos_token_id", "bos_token_id", "pad_token_id", "audio_window_size", "max_length", "max_new_tokens"}
    | {"use_cache", "cache_implementation", "transformers_version", "output_attentions", "output_hidden_states"}
    | {"_from_model_config"}
)
"""Fields of a generation configuration that the engine applies, or that change no output. The audio sets the length."""

Loader = Callable[[Checkpoint, Room, float], FollowingModel]


def load_following_model(checkpoint: Checkpoint, kind: str, room: Room, seconds: float) -> FollowingModel:
    """Loads a model whose type `kind` is in FOLLOWERS, for utterances of at most `seconds`.

    Raises:
        ModelRefused: files are missing or unsafe to load, the model fails on noise, or no row fits into memory.
    """
    model = FOLLOWERS[kind](checkpoint, room, seconds)
    warn_of_ignored_defaults(model.loaded.model, _FOLLOWED)
    try:
        finite = _tried(model)
    except MODEL_ERRORS as error:
        raise ModelRefused(f"{model.loaded.architecture} fails on a second of noise: {error}") from error
    if not finite:
        raise ModelRefused(f"{model.loaded.architecture} gives NaN or infinity on a second of noise.")
    return model


def _kyutai(checkpoint: Checkpoint, room: Room, seconds: float) -> FollowingModel:
    return KyutaiModel(load_audio_model(checkpoint, AutoModelForSpeechSeq2Seq, has_text=True), room, seconds)


def _voxtral(checkpoint: Checkpoint, room: Room, seconds: float) -> FollowingModel:
    """Loads the tokenizer with transformers and the prompt from tekken.json, without mistral-common."""
    loaded = load_audio_model(checkpoint, AutoModelForSpeechSeq2Seq)
    with refusals(checkpoint.source):
        tokenizer: Any = TokenizersBackend.from_pretrained(checkpoint.source, **checkpoint.shared)
    prompt = _streaming_prompt(checkpoint, loaded, tokenizer)
    return VoxtralModel(replace(loaded, tokenizer=tokenizer), prompt, room, seconds)


def _streaming_prompt(
    checkpoint: Checkpoint, loaded: LoadedAudioModel, tokenizer: PreTrainedTokenizerBase
) -> StreamingPrompt:
    padding = tokenizer.get_vocab().get(_PADDING)
    if padding is None:
        raise ModelRefused(f"The tokenizer of {checkpoint.source} has no {_PADDING}, with which every text begins.")
    first, delay = loaded.config.text_config.bos_token_id, loaded.config.default_num_delay_tokens
    file = find_file(checkpoint, "tekken.json")
    audio: dict[str, Any] = json.loads(file.read_text()).get("audio", {}) if file else {}
    if "transcription_delay_ms" in audio:
        delay = math.ceil(audio["transcription_delay_ms"] / 1000 * _TOKENS_PER_SECOND)
    return StreamingPrompt(first, padding, audio.get("streaming_n_left_pad_tokens", StreamingPrompt.left), delay)


@torch.inference_mode()
def _tried(model: FollowingModel) -> bool:
    """Runs a second of noise in up to two rows. Returns whether all log-probabilities were finite."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, model.rate).astype(np.float32)
    tracks = [model.track(row, []) for row in range(min(model.rows, 2))]
    for track in tracks:
        track.push(noise)
        track.end()
    finite = True
    while open_tracks := [track for track in tracks if track.ready]:
        finite &= all(math.isfinite(written.log_probability) for written in model.step(open_tracks))
    return finite


FOLLOWERS: Mapping[str, Loader] = {"kyutai_speech_to_text": _kyutai, "voxtral_realtime": _voxtral}
"""Loaders by model type."""
