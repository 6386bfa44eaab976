"""Compares the engine with the model's own `generate` on prompts with media, at load."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.generation.building.generated import Reference, continued, relative_error
from services.engine.generation.building.verification import NotPaged
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from services.engine.multimodal.encoder import MediaEncoder, MoreThanEmbeddings
from services.engine.multimodal.inputs import on_device
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.placing import MediaPlacer
from services.engine.multimodal.processor import Decoded, MediaProcessor, MediumRefused

_SIZES = ((96, 64), (56, 80))
"""Width and height of the random images of the check."""
_SECONDS = (0.9, 0.5)
_TEXT = 5
"""How many tokens stand before, between and after media."""
_PIECES = 3
"""How many chunks a prompt is read in, so that some begin inside a medium."""


@dataclass(frozen=True)
class MediaCheck:
    """The outputs of `generate` for prompts with media, which the engine must reproduce."""

    loaded: LoadedModel
    references: list[Reference]

    @classmethod
    def of(cls, loaded: LoadedModel, forget: Callable[[], None] = lambda: None) -> "MediaCheck | None":
        """Returns the check of a model; None for one that reads no media.

        `forget` is called before each prompt: it lets the model's modules forget the one before.

        Raises:
            ModelRefused: its processor or its `generate` fails.
        """
        if loaded.media is None:
            return None
        kinds = loaded.media.kinds
        first, second = (kinds[0], 0), (kinds[-1], 1)
        apart = kinds[0] is kinds[-1] and kinds[0] in loaded.media.manner.alone
        prompts = ([first], [second]) if apart else ([first, second], [second])
        own = loaded.attention
        loaded.attend_by("eager")
        try:
            return cls(loaded, [_reference(loaded, drawn, forget) for drawn in prompts])
        except MODEL_ERRORS as error:
            raise ModelRefused(f"{loaded.architecture} cannot be tried with media: {error}") from error
        finally:
            loaded.attend_by(own)

    def verify(self, runner: ModelRunner, pool: PagePool, allowed: float) -> None:
        """Runs the prompts in chunks, all in the same steps, having told the runner of stand-ins for placeholders.

        Raises:
            NotPaged: the results differ by more than `allowed`.
        """
        loaded, encoder = self.loaded, MediaEncoder.of(self.loaded)
        assert loaded.media is not None
        longest = max(len(reference.prompt) for reference in self.references)
        try:
            for reference in self.references:
                assert reference.media is not None
                for medium in reference.media.media:
                    (medium.features,) = encoder.encode([medium])
            known = range(loaded.vocabulary_size)
            runner.stand_ins = encoder.stand_ins([each for each in _placeholders(loaded.media) if each in known])
        except MoreThanEmbeddings as more:
            raise NotPaged(f"{loaded.architecture} tells its decoder more of media than embeddings: {more}.") from more
        error = relative_error(runner, self.references, chunk=longest // _PIECES + 1, pool=pool, begun=(0,))
        if not error <= allowed:
            raise NotPaged(
                f"{loaded.architecture} computes other logits of prompts with media through the paged cache than in "
                f"its own generate (relative error {error:.2g})."
            )


def _reference(loaded: LoadedModel, drawn: list[tuple[MediaKind, int]], forget: Callable[[], None]) -> Reference:
    assert loaded.media is not None
    forget()
    processor = loaded.media
    beside = processor.beside(drawn[0][0], len(drawn))
    try:
        media = [
            (kind, processor.read(kind, drawn_medium(kind, index, processor.sampling_rate), b"", beside=beside))
            for kind, index in drawn
        ]
    except MediumRefused as refused:
        raise ModelRefused(f"The processor of {loaded.architecture} fails: what was drawn {refused}") from refused
    reserved = _placeholders(processor)
    text = [token for token in range(loaded.vocabulary_size - 1, 0, -1) if token not in reserved]
    ids = text[:_TEXT]
    for i, (_, medium) in enumerate(media, start=1):
        ids += [*medium.inputs["input_ids"][0].tolist(), *text[i * _TEXT : (i + 1) * _TEXT]]
    placer = MediaPlacer(processor, loaded.model)
    placed = placer.place(ids, media, "")
    assert placed is not None
    return continued(loaded, on_device(placer.inputs(ids, placed), loaded.model), media=placed)


def _placeholders(processor: MediaProcessor) -> frozenset[int]:
    """Returns the tokens that stand for media, also for those that are not read."""
    return processor.unread_ids.union(map(processor.token_id, processor.kinds))


def drawn_medium(kind: MediaKind, index: int, sampling_rate: int) -> Decoded:
    """Returns a random image or recording."""
    generator = torch.Generator().manual_seed(index)
    if kind is MediaKind.AUDIO:
        samples = torch.rand(int(_SECONDS[index] * sampling_rate), generator=generator) - 0.5
        return samples.numpy().astype(np.float32)
    width, height = _SIZES[index]
    return Image.fromarray(torch.randint(256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy())
