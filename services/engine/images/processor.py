"""Reading of transformers' image processors, without torchvision."""

import importlib
import logging
from functools import cache
from typing import Any

# transformers 5.17 takes each file that has the name of its torchvision backend in it, be it in a comment, for one that
# needs torchvision, and gives out an empty class from its packages. This file is one of them.
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.utils.import_utils import is_torchvision_available

from services.engine.checkpoint import Checkpoint
from services.engine.images import tensor_images
from services.engine.shown_class import model_file, show_class

_MISJUDGED = {
    "idefics2": "Idefics2ImageProcessorPil",
    "idefics3": "Idefics3ImageProcessorPil",
    "ovis2": "Ovis2ImageProcessorPil",
    "segformer": "SegformerImageProcessorPil",
    "smolvlm": "SmolVLMImageProcessorPil",
}
"""Classes of others, by their packages. Later versions give out the classes themselves."""


def read_image_processor(checkpoint: Checkpoint) -> Any:
    """Returns the checkpoint's processor. Raises what reading a checkpoint raises."""
    show_image_processors()
    # Where there are two, this one is the reference that checkpoints were evaluated with.
    return AutoImageProcessor.from_pretrained(checkpoint.source, **checkpoint.shared, backend="pil")


@cache
def show_image_processors() -> None:
    """Lets the packages of transformers give out the classes that are in their files."""
    for package, name in _MISJUDGED.items():
        show_class(package, f"image_processing_pil_{package}", name)
    if is_torchvision_available():
        return
    # Not what transformers gives out under these names: 5.17 gives out empty classes.
    own: Any = importlib.import_module("transformers.image_processing_backends")
    image_utils: Any = importlib.import_module("transformers.image_utils")
    logging.getLogger("transformers.models.auto.image_processing_auto").addFilter(_is_no_fallback)
    own.tvF = tensor_images
    own.pil_torch_interpolation_mapping = image_utils.pil_torch_interpolation_mapping
    image_utils.pil_torch_interpolation_mapping.update(tensor_images.BY_PILLOWS_NAME)
    own.is_torchvision_greater_or_equal = lambda _: True  # what torch knows of interpolation, this knows
    model_file("zoedepth", "image_processing_pil_zoedepth").tvF = tensor_images  # of what comes out of the model
    auto: Any = importlib.import_module("transformers.models.auto.image_processing_auto")
    with tensor_images.in_place_of_torchvision():
        for model_type, names in auto.IMAGE_PROCESSOR_MAPPING_NAMES.items():
            if "pil" not in names:
                package = auto.model_type_to_module_name(model_type)
                show_class(package, f"image_processing_{package}", names["torchvision"])
        show_class("pixtral", "processing_pixtral", "PixtralProcessor")


def _is_no_fallback(record: logging.LogRecord) -> bool:
    """Keeps back that a processor falls back to torchvision: there is none, and operators would look for it."""
    return "Falling back to torchvision backend" not in record.getMessage()
