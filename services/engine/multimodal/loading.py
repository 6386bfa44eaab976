"""Loads a checkpoint that generates text from text, images and recordings."""

from typing import Any

from transformers import AutoModelForMultimodalLM, PretrainedConfig
from transformers.modeling_outputs import MoeCausalLMOutputWithPast
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING

from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, read_model, refusals
from services.engine.loading import LoadedModel, loaded_model
from services.engine.multimodal.manner import settle_manner
from services.engine.multimodal.processor import MediaProcessor
from services.engine.multimodal.processor_class import read_processor


def load_multimodal_model(checkpoint: Checkpoint) -> LoadedModel:
    """Loads a decoder that reads media among its tokens.

    Raises:
        ModelRefused: it is of another kind, its files are missing or unsafe to load, or its prompts cannot be written.
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
        # Llama 4 of transformers 5.24 asks the output of its decoder for this, and so fails in its own `generate`.
        output: Any = MoeCausalLMOutputWithPast
        output.image_outputs = None
        if type(config) not in MODEL_FOR_MULTIMODAL_LM_MAPPING or config.is_encoder_decoder:
            raise ModelRefused(
                f"{checkpoint.source} is a {config.model_type} checkpoint, which does not read media among the tokens "
                "of a prompt. Serve one of the LLaVA, Qwen-VL, Idefics or Qwen-Audio families, say."
            )
        processor = _processor(checkpoint, config)
        model = read_model(checkpoint, config, AutoModelForMultimodalLM)
    loaded = loaded_model(checkpoint, model, processor.tokenizer, processor)
    settle_manner(loaded)
    return loaded


def _processor(checkpoint: Checkpoint, config: PretrainedConfig) -> MediaProcessor:
    try:
        return MediaProcessor(read_processor(checkpoint, config), config)
    except (AttributeError, TypeError) as error:  # of a tokenizer, say, that lacks what the processor asks it for
        raise ModelRefused(f"The processor of {checkpoint.source} cannot be made: {error}") from error
