"""Makes the media inputs of a model's own `generate`, for sequences that run one by one."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from services.engine.generation.sequence import CachedTokens
from services.engine.loading import LoadedModel
from services.engine.multimodal.inputs import on_device
from services.engine.multimodal.placing import MediaPlacer

_TOLD_ANYWAY = ("input_ids", "attention_mask")


@dataclass(frozen=True)
class GivenMedia:
    """A Given for media. They keep pixels and samples, since each sequence encodes them when it starts or resumes."""

    loaded: LoadedModel
    placer: MediaPlacer

    @classmethod
    def of(cls, loaded: LoadedModel) -> "GivenMedia":
        """Returns the GivenMedia of a model that reads media."""
        assert loaded.media is not None
        return cls(loaded, MediaPlacer(loaded.media, loaded.model))

    def __call__(self, sequence: CachedTokens) -> Mapping[str, Tensor] | None:
        """See Given."""
        if sequence.media is None:
            return None
        inputs = self.placer.inputs(sequence.token_ids[: sequence.prompt_count], sequence.media)
        return on_device({name: inputs[name] for name in inputs if name not in _TOLD_ANYWAY}, self.loaded.model)
