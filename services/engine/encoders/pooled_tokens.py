"""Lets the last layer compute only the token that is pooled, where one token represents the text."""

from collections.abc import Sequence

import torch
from torch import Tensor

from services.engine.acceleration.tolerance import tolerance
from services.engine.encoders.acceleration import ordinary_ids
from services.engine.encoders.loading import LoadedEncoder
from services.engine.fusion.encoder import FusedEncoderLayer
from services.engine.fusion.last_layer import last_layers, spares_unread


class PooledTokens:
    """Tells a model's last layer which token of each text will be pooled. Used in the model's thread only."""

    def __init__(self, loaded: LoadedEncoder) -> None:
        """Tests whether chosen tokens come out the same if the last layer skips the others; if not, none is skipped."""
        self._model = loaded.model
        self._places = torch.zeros(0, dtype=torch.long)
        self._layer = self._found(loaded)

    @property
    def spares(self) -> bool:
        """Whether the last layer skips tokens that are not pooled."""
        return self._layer is not None

    def want(self, places: Sequence[int] | None) -> None:
        """Chooses one token (by index) of each text of the next batch; None: all tokens."""
        if self._layer is None:
            return
        self._layer.chosen = None if places is None else self._chosen
        if places is not None:
            self._places = torch.tensor(places)

    def _chosen(self, _lengths: Tensor) -> Tensor:
        return self._places

    @torch.inference_mode()
    def _found(self, loaded: LoadedEncoder) -> FusedEncoderLayer | None:
        layers = last_layers(self._model)
        if not layers:
            return None
        ids = ordinary_ids(loaded)
        mask = torch.ones_like(ids)
        mask[1, ids.shape[1] // 2 :] = 0

        def states() -> Tensor:
            return self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()

        whole, texts = states(), torch.arange(len(ids))

        def check() -> None:
            for place in (0, 3, -1):
                self._places = torch.tensor([place, place]) % mask.sum(1)
                difference = (states() - whole)[texts, self._places].abs().max() / whole.abs().max()
                if not difference <= tolerance(self._model.dtype):
                    raise RuntimeError(f"they differ by {difference:.2g}")

        found = next((layer for layer in layers if spares_unread(layer, self._chosen, check)), None)
        if found is not None:
            found.chosen = None
        return found
