"""How decoders that write what a window says begin, by the types of their models' configurations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.engine.dictation.manner import Manner
from services.engine.loading import LoadedModel


@dataclass(frozen=True)
class Opening:
    """What a decoder starts with, and what it is made to write first."""

    start_ids: tuple[int, ...]
    first_id: int | None = None
    """None: whatever its configuration says."""


def manner_of(loaded: LoadedModel) -> Manner:
    """Returns the manner of a model whose kind is in OPENINGS; its requests are Openings."""
    return OPENINGS[loaded.model.config.model_type](loaded)


def _moonshine(loaded: LoadedModel) -> Manner:
    """Each checkpoint is of one language, which its files do not name."""
    opening = Opening(loaded.decoder_start_ids)
    return Manner(lambda _: opening, has_one_language=True)


OPENINGS: Mapping[str, Callable[[LoadedModel], Manner]] = {"moonshine": _moonshine}
"""By the types of configurations."""
