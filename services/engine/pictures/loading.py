"""Loads the checkpoint of an image-to-text model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoModelForVisualQuestionAnswering,
    PreTrainedModel,
)

from services.engine.checkpoint import (
    Checkpoint,
    ModelRefused,
    read_config,
    read_model,
    read_tokenizer,
    refusals,
    revision_of,
)
from services.engine.images.processor import read_image_processor
from services.engine.loading import LoadedModel, loaded_model
from services.engine.pictures.families import Blip, BlipAnswerer, EncoderDecoder, Git
from services.engine.pictures.model import PictureModel
from services.engine.pictures.pix2struct import Pix2Struct

_SIZES = ((96, 128), (150, 60))
"""Width and height of the test images that a model is tried out with at load."""

_FAMILIES: dict[str, tuple[Any, Callable[..., PictureModel]]] = {
    "VisionEncoderDecoderModel": (AutoModelForImageTextToText, EncoderDecoder),
    "Pix2StructForConditionalGeneration": (AutoModelForImageTextToText, Pix2Struct),
    "BlipForConditionalGeneration": (AutoModelForImageTextToText, Blip),
    "BlipForQuestionAnswering": (AutoModelForVisualQuestionAnswering, BlipAnswerer),
    "GitForCausalLM": (AutoModelForImageTextToText, Git),
}
ARCHITECTURES = frozenset(_FAMILIES)
"""The supported architectures."""


def load_picture_model(checkpoint: Checkpoint) -> LoadedModel:
    """Loads a checkpoint of one of ARCHITECTURES.

    Raises:
        ModelRefused: its architecture is another, or its files are missing or unsafe to load.
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
        (name, *_) = config.architectures or [""]
        if name not in ARCHITECTURES:
            raise ModelRefused(f"{checkpoint.source} was made as {name or 'nothing'}, which writes about no picture.")
        kind, family = _FAMILIES[name]
        processor = read_image_processor(checkpoint)
        tokenizer = read_tokenizer(checkpoint)
        model = read_model(checkpoint, config, kind).eval()
        parts = (model, processor, tokenizer)
        pictures = family(*parts, checkpoint) if family is Pix2Struct else family(*parts)
        pictures.learn(noise_images())
    return _loaded(checkpoint, model, pictures)


def _loaded(checkpoint: Checkpoint, model: PreTrainedModel, pictures: PictureModel) -> LoadedModel:
    known = loaded_model(checkpoint, pictures.generator, pictures.tokenizer)
    starts = pictures.starts
    if not all(isinstance(token, int) for token in starts):
        raise ModelRefused(f"{type(model).__name__} does not say with which token its output starts.")
    defaults = known.defaults
    if pictures.ends is not None:
        defaults = replace(defaults, end_token_ids=pictures.ends)
    return replace(
        known,
        model=model,
        defaults=defaults,
        revision=revision_of(checkpoint),
        parameter_count=model.num_parameters(),
        decoder_start_ids=starts,
        source_tokens=pictures.most_tokens(known.context_tokens),
        source_vocabulary_size=1,
        pictures=pictures,
    )


def noise_images() -> list[Image.Image]:
    """Returns images of noise: no two parts are equal, so that no error can hide."""
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in _SIZES]
