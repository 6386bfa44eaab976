"""A loaded multimodal model that generates, and how it describes itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.v1 import models_pb2 as pb
from services.answer_conversion import duration
from services.engine.generation.building.build import BuiltEngine
from services.engine.language.responses.formats import ResponseFormat
from services.engine.loading import LoadedModel
from services.engine.multimodal.kind import MediaKind
from services.generation.engine_facts import describe, describe_chat
from services.generation.generation_threads import GenerationThreads
from services.multimodal.config import MultimodalSettings
from services.multimodal.task import MultimodalTask
from services.multimodal.verb_set import MultimodalVerbs

WRITING_TASKS = {
    MultimodalTask.CAPTION: pb.TASK_CAPTION,
    MultimodalTask.ANSWER_IMAGE_QUESTION: pb.TASK_ANSWER_IMAGE_QUESTION,
    MultimodalTask.ANSWER_DOCUMENT_QUESTION: pb.TASK_ANSWER_DOCUMENT_QUESTION,
}
"""The tasks of generating models that need one image, with their names in the contract."""


@dataclass(frozen=True)
class GeneratingModel:
    """A generating model ready to serve: see LoadedService."""

    model: LoadedModel
    built: BuiltEngine
    threads: GenerationThreads
    verbs: MultimodalVerbs
    settings: MultimodalSettings
    tasks: Sequence[pb.Task.ValueType]
    format: ResponseFormat | None = None
    """The format of its answers in conversations, if it is known."""

    def describe(self, info: pb.ModelInfo) -> None:
        """See LoadedService."""
        describe(info, self.model, self.built, self.settings)
        describe_chat(info, self.model.tokenizer, self.format)
        info.tasks[:] = sorted(self.tasks)
        info.limits.context_token_count = self.built.context_tokens
        info.limits.media_bytes = self.settings.media_bytes
        media = self.model.media
        if media is not None and media.sampling_rate:
            info.limits.audio_duration.CopyFrom(duration(self.settings.audio_seconds))
        if media is None or MediaKind.IMAGE in media.kinds:
            info.limits.image_pixel_count = self.settings.image_pixels
