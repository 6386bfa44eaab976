"""Runs a model on batches of images."""

from services.engine.batching.tensor_runner import Compute, TensorRunner
from services.engine.images.loading import LoadedVisionModel


class ImageRunner(TensorRunner):
    """A TensorRunner for items with ModelInputs."""

    def __init__(self, loaded: LoadedVisionModel, compute: Compute) -> None:
        super().__init__(loaded.device, loaded.model.dtype, compute)
