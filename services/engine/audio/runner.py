"""Runs batches of recordings through a model."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from services.engine.audio.loading import LoadedAudioModel
from services.engine.batching.tensor_runner import Compute, TensorRunner


class AudioRunner(TensorRunner):
    """A TensorRunner over AudioInputs. Pads shorter items at the end."""

    def __init__(self, loaded: LoadedAudioModel, compute: Compute) -> None:
        super().__init__(loaded.device, loaded.model.dtype, compute)
        self._padding: float = getattr(loaded.extractor, "padding_value", 0.0)

    def side_by_side(self, name: str, values: Sequence[Tensor]) -> Tensor:
        """See TensorRunner."""
        return pad_sequence(list(values), batch_first=True, padding_value=0.0 if "mask" in name else self._padding)
