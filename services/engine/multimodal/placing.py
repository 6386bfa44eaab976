"""Finds the places of media among the tokens of a prompt."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.running.media import Medium, Positions, PromptMedia
from services.engine.multimodal.inputs import whole_inputs
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.processor import MediaProcessor


class MediaPlacer:
    """Asks the model where it looks for media in prompts. `place` may run in any thread."""

    def __init__(self, processor: MediaProcessor, model: PreTrainedModel) -> None:
        self._model: Any = _apart(model)
        self._processor = processor
        self._token_ids = {kind: processor.token_id(kind) for kind in processor.kinds}
        self._unread = processor.unread_ids

    def place(
        self, token_ids: list[int], ordered: Sequence[tuple[MediaKind, Medium]], field: str
    ) -> PromptMedia | None:
        """Returns `ordered`, media in the order of their replacements in the prompt, with their places; None if empty.

        Raises:
            InvalidArgument: the prompt holds more or fewer tokens of media. `field` is its name.
        """
        located = self.located(token_ids, ordered, field)
        return self._positioned(token_ids, located) if ordered else None

    def located(self, token_ids: list[int], ordered: Sequence[tuple[MediaKind, Medium]], field: str) -> PromptMedia:
        """As `place`, without the position ids of the prompt's tokens."""
        ids, taken = np.array(token_ids, dtype=np.int64), dict.fromkeys(self._token_ids, 0)
        of_kind = {kind: np.flatnonzero(ids == token_id) for kind, token_id in self._token_ids.items()}
        places: list[NDArray[np.int64]] = []
        for kind, medium in ordered:
            start = taken[kind]
            taken[kind] += medium.token_count
            places.append(of_kind[kind][start : taken[kind]])
        others = any(len(of_kind[kind]) != count for kind, count in taken.items())
        if others or not self._unread.isdisjoint(token_ids):
            raise InvalidArgument([Violation(field, "has other tokens that stand for media than those of its media")])
        return PromptMedia([medium for _, medium in ordered], places)

    def inputs(self, token_ids: list[int], media: PromptMedia) -> dict[str, Tensor]:
        """Returns the inputs of the model's own `generate`, without pixels and samples that were dropped."""
        return whole_inputs(token_ids, media, self._processor)

    def _positioned(self, token_ids: list[int], media: PromptMedia) -> PromptMedia:
        """Returns the media with the model's position ids of the prompt's tokens, where these are not their indices."""
        given = self.inputs(token_ids, media)
        shapes = {name: value for name, value in given.items() if not value.is_floating_point()}
        found: Tensor = self._model._prepare_position_ids_for_generation(given["input_ids"], shapes)
        if found.dim() == 2:
            return media
        # Before those of each dimension there may be a row of ordinary ones, for masks.
        positions: Positions = found[-3:, 0].numpy()
        return PromptMedia(media.media, media.places, positions, int(positions[:, -1].max()) + 1)


def _apart(model: PreTrainedModel) -> PreTrainedModel:
    """Returns a model with the same modules, of which the outermost and its base model are shallow copies.

    Models store the positions of a prompt as attributes of these, which the engine's thread would read.
    """
    outer = copy(model)
    outer._modules = dict(model._modules)
    name = model.base_model_prefix
    if name in outer._modules and (base := outer._modules[name]) is not None:
        outer._modules[name] = copy(base)
    return outer
