"""Loads image processors of transformers without torchvision installed."""

import importlib
import logging
from functools import cache
from typing import Any

# transformers 5.17 searches source files for the name of its torchvision backend, even in comments. For a file that has
# it, packages export a placeholder class, as if it needed torchvision. So this class is imported from its own file.
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
"""Other classes in such files, by package. Later versions export the real classes."""


def read_image_processor(checkpoint: Checkpoint) -> Any:
    """Returns the checkpoint's image processor. Raises the errors of `from_pretrained`."""
    show_image_processors()
    # If there are two backends, Pillow's is the reference that checkpoints were evaluated with.
    return AutoImageProcessor.from_pretrained(checkpoint.source, **checkpoint.shared, backend="pil")


@cache
def show_image_processors() -> None:
    """Makes transformers export its image processors although torchvision is missing. Runs once."""
    for package, name in _MISJUDGED.items():
        show_class(package, f"image_processing_pil_{package}", name)
    if is_torchvision_available():
        return
    # Imported by module: what transformers 5.17 exports under these names are placeholder classes.
    own: Any = importlib.import_module("transformers.image_processing_backends")
    image_utils: Any = importlib.import_module("transformers.image_utils")
    logging.getLogger("transformers.models.auto.image_processing_auto").addFilter(_is_no_fallback)
    own.tvF = tensor_images
    own.pil_torch_interpolation_mapping = image_utils.pil_torch_interpolation_mapping
    image_utils.pil_torch_interpolation_mapping.update(tensor_images.BY_PILLOWS_NAME)
    own.is_torchvision_greater_or_equal = lambda _: (
        True
    )  # tensor_images supports every interpolation mode that torch has
    model_file("zoedepth", "image_processing_pil_zoedepth").tvF = tensor_images  # its postprocessing calls it
    auto: Any = importlib.import_module("transformers.models.auto.image_processing_auto")
    with tensor_images.in_place_of_torchvision():
        for model_type, names in auto.IMAGE_PROCESSOR_MAPPING_NAMES.items():
            if "pil" not in names:
                package = auto.model_type_to_module_name(model_type)
                show_class(package, f"image_processing_{package}", names["torchvision"])
        show_class("pixtral", "processing_pixtral", "PixtralProcessor")


def _is_no_fallback(record: logging.LogRecord) -> bool:
    """Filters out the warning about falling back to torchvision: it is not installed and not used."""
    return "Falling back to torchvision backend" not in record.getMessage()
