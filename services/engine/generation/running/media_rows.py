"""Embeddings and position ids of rows with media in their prompts."""

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor, nn

from services.engine.generation.running.media import Positions
from services.engine.generation.sequence import CachedTokens, Row


def embedded(rows: Collection[Row[CachedTokens]], ids: Tensor, embeddings: nn.Module) -> Tensor | None:
    """Returns the embeddings `[tokens, width]` of packed rows, with the features of media in their places.

    None if no token to compute has features: the model then embeds the tokens itself.
    """
    places: list[np.ndarray] = []
    features: list[Tensor] = []
    start = 0
    for row in rows:
        first, media = row.sequence.computed, row.sequence.media
        if media is not None:
            for indices, values in media.features(first, first + row.token_count):
                places.append(indices + (start - first))
                features.append(values)
        start += row.token_count
    if not places:
        return None
    embeds = embeddings(ids)
    found = torch.cat(features) if len(features) > 1 else features[0]
    embeds[torch.from_numpy(np.concatenate(places)).to(embeds.device)] = found.to(embeds.dtype)
    return embeds


def positions_of(rows: Collection[Row[CachedTokens]]) -> Positions:
    """Returns the positions of packed rows, at least one of which has media: one row of them, or as many as needed."""
    found: list[Positions] = []
    for row in rows:
        first, media = row.sequence.computed, row.sequence.media
        end = first + row.token_count
        plain = media is None
        found.append(np.arange(first, end, dtype=np.int64)[None] if plain else media.positions(first, end))
    most = max(len(positions) for positions in found)
    return np.concatenate([np.broadcast_to(positions, (most, positions.shape[1])) for positions in found], axis=1)
