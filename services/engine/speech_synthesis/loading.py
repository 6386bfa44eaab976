"""Loads synthesizers by model type, with their vocoders, codecs and voices."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTextToWaveform,
    BarkModel,
    CsmForConditionalGeneration,
    DacConfig,
    DacModel,
    DiaForConditionalGeneration,
    MusicgenForConditionalGeneration,
    MusicgenMelodyForConditionalGeneration,
    PretrainedConfig,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    VitsModel,
)
from transformers.utils.import_utils import is_phonemizer_available, is_uroman_available

from services.engine.checkpoint import (
    MODEL_ERRORS,
    Checkpoint,
    ModelRefused,
    find_file,
    read_config,
    read_model,
    read_tokenizer,
    refusals,
    revision_of,
)
from services.engine.hub import require_hub
from services.engine.speech_synthesis.bark import Bark
from services.engine.speech_synthesis.csm import Csm
from services.engine.speech_synthesis.dia import Dia
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.higgs import Higgs
from services.engine.speech_synthesis.higgs_codec import codec_class
from services.engine.speech_synthesis.model import LoadedSpeaker, Manner, SpeakingModel
from services.engine.speech_synthesis.musicgen import MusicGen
from services.engine.speech_synthesis.pocket import PocketSettings, PocketTts
from services.engine.speech_synthesis.pocket_voices import pocket_voices
from services.engine.speech_synthesis.scores import require_numbers
from services.engine.speech_synthesis.speecht5 import SpeechT5
from services.engine.speech_synthesis.vits import Vits

_VOCODER_FOLDER = "vocoder"
_TRIED_TOKENS = 4
_TRIED_STEPS = 16
"""Steps of a trial: all audio of a few tokens, unless a model goes on for longer."""
_DRAW = frozenset(
    {"musicgen", "musicgen_melody", "csm", "bark", "dia", "higgs_audio_v2", "pocket_tts", "gradium_phonon_tts"}
)
"""Model types that need their generation configuration, because it alone says how to sample."""
_WHOLE = frozenset({"vits", "musicgen", "musicgen_melody", "csm", "bark"})
_SERVED = "VITS, SpeechT5, CSM, Dia, Bark, Higgs Audio, Pocket TTS and MusicGen"
_FOR_WORDS = "services.multimodal serves it for what it writes; it is not heard"
_FOR_HEARING = "it is served for what it hears, by --task transcribe; VITS (MMS-TTS), say, speaks many languages"
_REASONS = {
    "vibevoice": "it takes its steps from diffusers, which is not used here; Higgs Audio or CSM, say, are served",
    "seamless_m4t": _FOR_HEARING,
    "seamless_m4t_v2": _FOR_HEARING,
    "qwen2_5_omni": _FOR_WORDS,
    "qwen3_omni_moe": _FOR_WORDS,
    "fastspeech2_conformer": "its tokenizer needs g2p_en, which fetches what it lacks from the network",
    "fastspeech2_conformer_with_hifigan": "its tokenizer needs g2p_en, which fetches what it lacks from the network",
}


@dataclass(frozen=True)
class SpeakerParts:
    """Files of a model beside its checkpoint."""

    vocoder: str | None = None
    """Folder or hub id of the vocoder or codec; None takes what the checkpoint has or names."""
    voices: Path | None = None
    """Safetensors file of named voices."""


def load_speaker(checkpoint: Checkpoint, parts: SpeakerParts) -> LoadedSpeaker:
    """Loads a synthesizer.

    Raises:
        ModelRefused: files or the vocoder are missing or unsafe to load, or the model type is not supported.
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
        load = _LOADERS.get(config.model_type)
        if load is None:
            why = _REASONS.get(config.model_type, f"of models that make sound of texts, {_SERVED} are served")
            raise ModelRefused(f"{checkpoint.source} is {config.model_type}: {why}.")
        if parts.vocoder is not None and config.model_type in _WHOLE:
            raise ModelRefused(f"--vocoder: {checkpoint.source} is {config.model_type}, which has its own within.")
        if (
            checkpoint.device.type == "cpu"
            and checkpoint.dtype == "auto"
            and checkpoint.element_type(config) is torch.float16
        ):
            # CPUs have no float16 arithmetic: convolutions would take ten times as long.
            checkpoint = replace(checkpoint, dtype="float32")
        if config.model_type in _DRAW:
            _require_drawing(checkpoint)
        tokenizer = read_tokenizer(checkpoint)
        model, speaker = load(checkpoint, config, tokenizer, parts)
    if speaker.most_tokens < 1:
        raise ModelRefused(f"{checkpoint.source} needs a generation_config.json that lets it speak for a while.")
    require_numbers(model)
    return LoadedSpeaker(
        speaker=speaker,
        model=model,
        device=checkpoint.device,
        revision=revision_of(checkpoint),
        quantization=checkpoint.quantized_by(config),
    )


def try_out(loaded: LoadedSpeaker) -> None:
    """Runs the model on a few tokens.

    Raises:
        ModelRefused: it fails, or its audio is not finite.
    """
    speaker = loaded.speaker
    manner = Manner(embedding=[1.0] * speaker.embedding_width or None, brief=True)
    tokens = list(range(_TRIED_TOKENS))
    try:
        with torch.inference_mode():
            steps = islice(speaker.speak(tokens, manner, Draws(0, loaded.device)), _TRIED_STEPS)
            sound = torch.cat([torch.empty(0), *(piece.cpu() for piece in steps if piece is not None)])
    except MODEL_ERRORS as error:
        raise ModelRefused(f"{loaded.architecture} cannot be run: {error}") from error
    if sound.dim() != 1 or not torch.isfinite(sound).all():
        raise ModelRefused(f"{loaded.architecture} makes NaN or infinite audio, in {loaded.model.dtype}.")


def _require_drawing(checkpoint: Checkpoint) -> None:
    path = find_file(checkpoint, "generation_config.json")
    if path is None:
        raise ModelRefused(f"{checkpoint.source} needs its generation_config.json, which says how it draws its sound.")
    json.loads(path.read_text())  # raises on a damaged file, which the library would silently ignore


Loaded = tuple[Any, SpeakingModel]


def _load_vits(checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, parts: SpeakerParts) -> Loaded:
    if parts.voices is not None:
        raise ModelRefused("--voices: VITS has the voices it was trained with.")
    for name, there in (("phonemizer", is_phonemizer_available), ("uroman", is_uroman_available)):
        wanted = getattr(tokenizer, {"phonemizer": "phonemize", "uroman": "is_uroman"}[name], False)
        if wanted and not there():
            more = " and espeak-ng" if name == "phonemizer" else ""
            raise ModelRefused(
                f"{checkpoint.source} reads texts with the help of {name}: install it{more} beside this."
            )
    model = read_model(checkpoint, config, VitsModel).eval()
    return model, Vits(model, tokenizer)


def _load_speecht5(checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, parts: SpeakerParts) -> Loaded:
    model = read_model(checkpoint, config, SpeechT5ForTextToSpeech).eval()
    vocoder = _load_vocoder(checkpoint, parts.vocoder)
    if vocoder.config.model_in_dim != model.config.num_mel_bins:
        raise ModelRefused(
            f"The vocoder reads {vocoder.config.model_in_dim} bands, and {checkpoint.source} makes "
            f"{model.config.num_mel_bins}."
        )
    voices = _read_voices(parts.voices, model.config.speaker_embedding_dim) if parts.voices else {}
    return model, SpeechT5(model, vocoder, tokenizer, voices)


def _load_musicgen(checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, parts: SpeakerParts) -> Loaded:
    if parts.voices is not None:
        raise ModelRefused("--voices: MusicGen has none.")
    melody = config.model_type == "musicgen_melody"
    kind = MusicgenMelodyForConditionalGeneration if melody else MusicgenForConditionalGeneration
    model = read_model(checkpoint, config, kind).eval()
    return model, MusicGen(model, tokenizer)


def _load_csm(checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, parts: SpeakerParts) -> Loaded:
    if parts.voices is not None:
        raise ModelRefused("--voices: CSM has the voices it was trained with.")
    model = read_model(checkpoint, config, CsmForConditionalGeneration).eval()
    return model, Csm(model, tokenizer)


def _load_bark(checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, parts: SpeakerParts) -> Loaded:
    if parts.voices is not None:
        raise ModelRefused("--voices: Bark's are those that its speaker_embeddings_path.json lists.")
    model = read_model(checkpoint, config, BarkModel).eval()
    return model, Bark(model, tokenizer, checkpoint)


def _load_dia(checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, parts: SpeakerParts) -> Loaded:
    if parts.voices is not None:
        raise ModelRefused("--voices: Dia has none; [S1] and [S2] in the text name the speakers.")
    model = read_model(checkpoint, config, DiaForConditionalGeneration).eval()
    codec = _load_codec(checkpoint, parts.vocoder, DacConfig, DacModel, "descript/dac_44khz")
    return model, Dia(model, codec, tokenizer)


def _load_higgs(checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, parts: SpeakerParts) -> Loaded:
    if parts.voices is not None:
        raise ModelRefused("--voices: Higgs Audio has none; it finds one that suits the text.")
    model = read_model(checkpoint, config, AutoModelForTextToWaveform).eval()
    own, kind = "bosonai/higgs-audio-v2-tokenizer", codec_class()
    codec = _load_codec(checkpoint, parts.vocoder, kind.config_class, kind, own)
    return model, Higgs(model, codec, tokenizer)


def _load_pocket(checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, parts: SpeakerParts) -> Loaded:
    values: Any = config
    width = getattr(values, "audio_prompt_dim", values.latent_dim)
    voices = pocket_voices(checkpoint, parts.voices, width, values.max_position_embeddings // 2)
    model = read_model(checkpoint, config, AutoModelForTextToWaveform).eval()
    codec = _load_codec(checkpoint, parts.vocoder, AutoConfig, AutoModel, "the folder of its audio tokenizer")
    own = _processor_settings(checkpoint)
    settings = PocketSettings(**{each.name: own[each.name] for each in fields(PocketSettings) if each.name in own})
    return model, PocketTts(model, codec, tokenizer, voices, settings)


def _load_codec(checkpoint: Checkpoint, wanted: str | None, config: Any, kind: Any, such: str) -> Any:
    """Loads the codec that the operator or else the checkpoint names."""
    named = wanted or _named_codec(checkpoint)
    if named is None:
        raise ModelRefused(
            f"{checkpoint.source} makes codes, and names no codec to make sound of them: name one with --vocoder, "
            f"such as {such}."
        )
    require_hub(named)
    place = replace(checkpoint, quantization="none", adapter=None, source=named, revision=None)
    with refusals(place.source, "The codec "):
        return read_model(place, config.from_pretrained(place.source, **place.shared), kind).eval()


def _named_codec(checkpoint: Checkpoint) -> str | None:
    """Returns the folder or hub id of the codec in the checkpoint's processor configuration."""
    named = _processor_settings(checkpoint).get("audio_tokenizer")
    return named["audio_tokenizer_name_or_path"] if named else None


def _processor_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    path = find_file(checkpoint, "processor_config.json")
    return json.loads(path.read_text()) if path else {}


def _load_vocoder(checkpoint: Checkpoint, named: str | None) -> Any:
    """Loads the vocoder from its own checkpoint, or from a subfolder of the model's."""
    place = replace(checkpoint, quantization="none", adapter=None)
    if named is not None:
        require_hub(named)
        place = replace(place, source=named, revision=None)
    elif find_file(checkpoint, f"{_VOCODER_FOLDER}/config.json") is None:
        raise ModelRefused(
            f"{checkpoint.source} makes spectrograms, and there is no vocoder to make sound of them: name one with "
            f"--vocoder, such as microsoft/speecht5_hifigan, or put one into its folder `{_VOCODER_FOLDER}`."
        )
    else:
        place = replace(place, subfolder=_VOCODER_FOLDER)
    with refusals(place.source, "The vocoder "):
        config = SpeechT5HifiGanConfig.from_pretrained(place.source, **place.shared)
        return read_model(place, config, SpeechT5HifiGan).eval()


def _read_voices(path: Path, width: int) -> dict[str, Sequence[float]]:
    """Returns the speaker embeddings of a safetensors file, sorted by name."""
    voices = {name: value.float().flatten() for name, value in sorted(load_file(path).items())}
    for name, value in voices.items():
        if len(value) != width or not torch.isfinite(value).all():
            raise ModelRefused(f"{path}: the voice {name!r} has {len(value)} numbers, and the model takes {width}.")
    return {name: value.tolist() for name, value in voices.items()}


_LOADERS: dict[str, Callable[[Checkpoint, PretrainedConfig, Any, SpeakerParts], Loaded]] = {
    "vits": _load_vits,
    "speecht5": _load_speecht5,
    "musicgen": _load_musicgen,
    "musicgen_melody": _load_musicgen,
    "csm": _load_csm,
    "bark": _load_bark,
    "dia": _load_dia,
    "higgs_audio_v2": _load_higgs,
    "pocket_tts": _load_pocket,
    "gradium_phonon_tts": _load_pocket,
}
