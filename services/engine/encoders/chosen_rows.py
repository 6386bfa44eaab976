"""Runs a language model's head only on the tokens whose logits are needed: each costs a row of vocabulary width."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from services.engine.acceleration.tolerance import tolerance
from services.engine.checkpoint import MODEL_ERRORS
from services.engine.encoders.loading import LoadedEncoder

log = logging.getLogger(__name__)


class ChosenRows:
    """Selects hidden states between a model's body and its head. Used in the model's thread only."""

    def __init__(self, loaded: LoadedEncoder) -> None:
        """Tests whether the head gives the same logits for selected rows alone; if not, it computes all rows."""
        self._model = loaded.model
        self._rows: tuple[Tensor, Tensor] | None = None
        """Indices of the chosen rows: (text in the batch, token in the text)."""
        self.spares = False
        """Whether the head skips rows that are not chosen."""
        hook = self._model.base_model.register_forward_hook(self._choose)
        self.spares = self._is_exact(loaded)
        if not self.spares:
            hook.remove()

    def want(self, places: Sequence[Sequence[int]], device: torch.device) -> None:
        """Chooses tokens, by index, of each text of the next batch."""
        flat = [(number, place) for number, of_text in enumerate(places) for place in of_text]
        texts, tokens = torch.tensor(flat, dtype=torch.long, device=device).view(-1, 2).unbind(1)
        self._rows = texts, tokens

    def taken(self, logits: Tensor) -> Tensor:
        """Returns the logits of the chosen rows, `[rows, vocabulary]`, in the order chosen.

        `logits` may have more positions than the batch has tokens: Perceiver always outputs its longest input.
        """
        rows, self._rows = self._rows, None
        assert rows is not None
        return logits[0] if self.spares else logits[rows]

    def _choose(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        if self._rows is not None:
            output["last_hidden_state"] = output["last_hidden_state"][self._rows][None]
        return output

    @torch.inference_mode()
    def _is_exact(self, loaded: LoadedEncoder) -> bool:
        ids = torch.arange(24, device=loaded.device).view(2, 12) % loaded.vocabulary_size
        try:
            whole = self._model(input_ids=ids).logits
            self.want([[3, 11], [0]], loaded.device)
            found = self._model(input_ids=ids).logits[0]
            difference = (found - whole[self._rows]).abs().max() / whole.abs().max()
        except MODEL_ERRORS as error:
            log.info("the head takes all rows: %s", error)
            return False
        else:
            return bool(difference <= tolerance(self._model.dtype))
        finally:
            self._rows = None
