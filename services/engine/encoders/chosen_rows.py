"""Only the rows that are wanted go through a language model's head, which makes numbers as many as the vocabulary has
tokens of each.
"""

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
    """Stands between the body of a model and its head. Belongs to the model's thread."""

    def __init__(self, loaded: LoadedEncoder) -> None:
        """Finds out whether the model's head can be given some rows alone; else rows are taken of all it makes."""
        self._model = loaded.model
        self._rows: tuple[Tensor, Tensor] | None = None
        """Of each row its text in the batch, and its place there."""
        self.spares = False
        """Whether rows that are not wanted are not computed."""
        hook = self._model.base_model.register_forward_hook(self._choose)
        self.spares = self._is_exact(loaded)
        if not self.spares:
            hook.remove()

    def want(self, places: Sequence[Sequence[int]], device: torch.device) -> None:
        """Chooses these tokens of each text of a batch."""
        flat = [(number, place) for number, of_text in enumerate(places) for place in of_text]
        texts, tokens = torch.tensor(flat, dtype=torch.long, device=device).view(-1, 2).unbind(1)
        self._rows = texts, tokens

    def taken(self, logits: Tensor) -> Tensor:
        """Returns the chosen rows `[rows, vocabulary]` of what the model made of the batch, in the order chosen.

        It may have made more than there are tokens: Perceiver makes as many as it could read.
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
