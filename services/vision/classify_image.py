"""The verb ClassifyImage for models with their own labels."""

from torch import Tensor

from services.engine.batching.pipeline import Pipeline
from services.engine.images.loading import LoadedVisionModel
from services.media.classifier import OwnLabelClassifier
from services.vision.image_list import ImageList


def compute_logits(loaded: LoadedVisionModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `logits`, `[images, labels]`. For ImageRunner."""
    return {"logits": loaded.model(**batch).logits}


def own_labels(pipeline: Pipeline, loaded: LoadedVisionModel, images: ImageList) -> OwnLabelClassifier:
    """Returns the classifier. It reads `problem_type` as transformers' image classification pipeline does."""
    kind = loaded.config.problem_type
    return OwnLabelClassifier(
        pipeline,
        images,
        loaded.labels,
        regresses=kind == "regression",
        multi_label=kind == "multi_label_classification" or len(loaded.labels) == 1,
    )
