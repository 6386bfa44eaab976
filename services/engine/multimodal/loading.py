"""Loads a checkpoint that generates text from text, images and recordings."""

import logging
from typing import Any

from transformers import AutoModelForMultimodalLM, PretrainedConfig
from transformers.modeling_outputs import MoeCausalLMOutputWithPast
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
)

from services.engine.checkpoint import Checkpoint, ModelRefused, find_file, read_config, read_model, refusals
from services.engine.loading import LoadedModel, loaded_model
from services.engine.multimodal.manner import settle_manner
from services.engine.multimodal.processor import MediaProcessor
from services.engine.multimodal.processor_class import read_processor

log = logging.getLogger(__name__)

_BEFORE = (
    "it takes an image before every prompt, and no text without one. LLaVA, Qwen-VL or Gemma, say, read them among "
    "text; BLIP and GIT, say, describe one."
)
_REFUSED = {
    "diffusion_gemma": "it writes many tokens at once and changes them again. Gemma 4, say, is served.",
    "evolla": "it reads proteins, which no request holds.",
    "idefics": "it sees images beside its tokens, not among them. Idefics 2 and 3, say, are served.",
    "instructblipvideo": "it sees videos, which are not read here.",
    "pi0": "it moves a robot, and writes no text.",
    **dict.fromkeys(
        ("kyutai_speech_to_text", "voxtral_realtime"),
        "it hears while it writes, not before: services.speech serves it.",
    ),
    "mllama": "it sees images beside its tokens, not among them. Llama 4, Qwen-VL or Gemma, say, are served.",
    **dict.fromkeys(("blip-2", "instructblip", "fuyu", "kosmos-2", "kosmos-2.5"), _BEFORE),
}
"""Reasons to refuse models, by model type, which are clearer than the errors of their processors."""
_ADAPTERS = ("vision-lora", "speech-lora")
"""Folders of the adapters with which Phi-4 multimodal is published, for images and for recordings."""


def load_multimodal_model(checkpoint: Checkpoint) -> LoadedModel:
    """Loads a decoder that reads media among its tokens.

    Raises:
        ModelRefused: it reads no media, its files are missing or unsafe to load, or its prompts cannot be reproduced.
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
        if reason := _REFUSED.get(config.model_type):
            raise ModelRefused(f"{checkpoint.source} is a {config.model_type} checkpoint: {reason}")
        part = _writing_part(config)
        own = _class(part)
        if own is None or part.is_encoder_decoder:
            raise ModelRefused(
                f"{checkpoint.source} is a {config.model_type} checkpoint, which does not read media among the tokens "
                "of a prompt. Serve one of the LLaVA, Qwen-VL, Idefics or Qwen-Audio families, say."
            )
        # Llama 4 of transformers 5.24 asks the output of its decoder for this, and so fails in its own `generate`.
        output: Any = MoeCausalLMOutputWithPast
        output.image_outputs = None
        _refuse_adapter(checkpoint, config)
        processor = _processor(checkpoint, config, part)
        known = part is config and type(part) in MODEL_FOR_MULTIMODAL_LM_MAPPING
        model = read_model(checkpoint, part, AutoModelForMultimodalLM if known else own)
    if coder := getattr(model.config, "acoustic_tokenizer_encoder_config", None):
        # VibeVoice-ASR adds noise to what it hears, unless its `generate` is given `sample=False`: no two answers about
        # a recording would be alike.
        coder.vae_std = 0.0
    loaded = loaded_model(checkpoint, model, processor.tokenizer, processor)
    settle_manner(loaded)
    _tell_of_adapters(checkpoint)
    return loaded


def _writing_part(config: PretrainedConfig) -> PretrainedConfig:
    """Returns the configuration of the part that writes text: of Qwen Omni, the thinker without the talker."""
    part: PretrainedConfig = getattr(config, "thinker_config", None) or config
    part.dtype = part.dtype or config.dtype
    return part


def _class(part: PretrainedConfig) -> Any:
    """Returns the Auto class that loads the model; None where there is none.

    transformers lists Audio Flamingo 3 and Music Flamingo among encoder-decoders, though they are none.
    """
    listed: tuple[Any, ...] = (MODEL_FOR_MULTIMODAL_LM_MAPPING, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING)
    return next((classes[type(part)] for classes in listed if type(part) in classes), None)


def _processor(checkpoint: Checkpoint, config: PretrainedConfig, part: PretrainedConfig) -> MediaProcessor:
    try:
        return MediaProcessor(read_processor(checkpoint, config), part)
    except (AttributeError, TypeError) as error:  # of a tokenizer, say, that lacks what the processor asks it for
        raise ModelRefused(f"The processor of {checkpoint.source} cannot be made: {error}") from error


def _refuse_adapter(checkpoint: Checkpoint, config: PretrainedConfig) -> None:
    """Refuses Granite Speech 3.3, whose adapter for speech would be missing."""
    if checkpoint.adapter is not None or not getattr(config, "has_lora_adapter", False):
        return
    if find_file(checkpoint, "adapter_config.json"):
        raise ModelRefused(
            f"{checkpoint.source} keeps what it learned of recordings in an adapter beside its weights. --adapter "
            f"{checkpoint.source} merges it, for prompts without recordings too."
        )


def _tell_of_adapters(checkpoint: Checkpoint) -> None:
    """Warns of a model that is served without the adapters that it is published with."""
    if checkpoint.adapter is not None:
        return
    if found := [name for name in _ADAPTERS if find_file(checkpoint, f"{name}/adapter_config.json")]:
        log.warning(
            "%s has adapters in %s, of which none is read: its answers about images and recordings are not those that "
            "it was trained for. --adapter %s/%s merges one.",
            checkpoint.source,
            " and ".join(found),
            checkpoint.source,
            found[0],
        )
