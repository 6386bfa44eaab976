"""Zero-shot detection with models that encode each label by itself: OWL-ViT and OWLv2."""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

_KEPT_LABELS = 4096
"""Size of the cache, at some kilobytes per embedding: callers ask for the same labels again and again."""


class LabelEmbeddings:
    """An LRU cache of label embeddings. Belongs to the model's thread."""

    def __init__(self, model: Any, most: int = _KEPT_LABELS) -> None:
        """`model` is the part that embeds texts; `most` is the number of labels that are cached."""
        self._model = model
        self._most = most
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()

    def of(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns the unit-length embeddings, `[..., width]`, of labels `[..., tokens]`."""
        rows, masks = input_ids.flatten(0, -2), attention_mask.flatten(0, -2)
        keys = [row.tobytes() for row in rows.cpu().numpy()]
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        if new := [place for key, place in first.items() if key not in self._known]:
            made = self._embed(rows[new], masks[new])
            self._known.update((keys[place], vector) for place, vector in zip(new, made, strict=True))
        for key in keys:
            self._known.move_to_end(key)
        found = torch.stack([self._known[key] for key in keys])
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found.unflatten(0, input_ids.shape[:-1])

    def _embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        vectors = self._model.get_text_features(input_ids, attention_mask).pooler_output
        return vectors / torch.linalg.norm(vectors, dim=-1, keepdim=True)


class OpenLabelModel:
    """Scores every label for every box, for batches of images with equally many labels each."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._labels = LabelEmbeddings(model.base_model)

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `fits`, logits `[images, boxes, labels]`, and the model's `boxes`, `[images, boxes, 4]`.

        Args:
            batch: `pixel_values`, and `input_ids` and `attention_mask` `[images, labels, tokens]`.
        """
        labels = self._labels.of(batch["input_ids"], batch["attention_mask"])
        feature_map = self._model.image_embedder(batch["pixel_values"])[0]
        features = feature_map.flatten(1, 2)
        fits, _ = self._model.class_predictor(features, labels)
        return {"fits": fits, "boxes": self._model.box_predictor(features, feature_map)}
