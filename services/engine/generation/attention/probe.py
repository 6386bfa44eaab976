"""A backend that finds the layout of each layer's keys and values from one call."""

from torch import Tensor

from services.engine.generation.attention.backend import AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch
from services.engine.generation.attention.reference import attend_row
from services.engine.generation.cache.kv_cache import LayerLayout


class LayoutProbe:
    """Records the layout of every attention layer, and computes attention within the one sequence of the batch."""

    def __init__(self) -> None:
        self.layouts: dict[int, LayerLayout] = {}
        self.layers: dict[int, AttentionLayer] = {}

    def plan(self, batch: AttentionBatch) -> object:
        """See AttentionBackend.plan; there is nothing to plan for."""
        return batch

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor, plan: object) -> Tensor:
        """See AttentionBackend.attend. The step is one whole sequence, and no cache is used.

        Raises:
            ValueError: the layer has been called before. Such models run layers in loops, with a cache for each loop.
        """
        assert plan is None
        if layer.index in self.layouts:
            raise ValueError(f"layer {layer.index} attends more than once to a token")
        self.layouts[layer.index] = LayerLayout(query.shape[1], key.shape[1], key.shape[2], value.shape[2], key.dtype)
        self.layers[layer.index] = layer
        return attend_row(layer, query, key, value)
