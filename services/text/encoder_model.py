"""A text model that reads once, in memory and answering."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sensorium.v1 import models_pb2 as pb
from services.engine.batching.pipeline import Pipeline
from services.engine.batching.queue import BatchLimits
from services.engine.checkpoint import Checkpoint, refusals
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.loading import LoadedEncoder, load_text_encoder
from services.engine.encoders.reader import TextReader
from services.engine.encoders.sentences import SentenceRecipe, sentence_recipe
from services.engine.metrics import EngineMetrics
from services.text.config import TextSettings
from services.text.encoder_tasks import AUTO_CLASSES, Workbench, serve
from services.text.task import TextTask
from services.text.verb_set import TextVerbs


@dataclass(frozen=True)
class EncoderModel:
    """A LoadedService."""

    loaded: LoadedEncoder
    pipeline: Pipeline
    verbs: TextVerbs
    tasks: Sequence[pb.Task.ValueType]
    settings: TextSettings

    def start(self) -> None:
        """See LoadedService."""
        self.pipeline.start()

    def stuck(self, seconds: float) -> bool:
        """See LoadedService."""
        return self.pipeline.stuck(seconds)

    def close(self) -> None:
        """See LoadedService."""
        self.pipeline.close()

    def describe(self, info: pb.ModelInfo) -> None:
        """See LoadedService."""
        loaded = self.loaded
        info.identity.revision = loaded.revision
        info.tasks[:] = sorted([*self.tasks, pb.TASK_TOKENIZE])
        info.limits.context_token_count = loaded.context_tokens
        info.limits.queued_token_count = self.settings.max_queued_tokens
        info.limits.vocabulary_token_count = loaded.vocabulary_size
        info.architecture = loaded.architecture
        info.dtype = str(loaded.model.dtype).removeprefix("torch.")
        info.quantization = loaded.quantization
        info.device = str(loaded.device)
        info.parameter_count = loaded.model.num_parameters()
        info.concurrency = BatchLimits.items
        info.labels[:] = loaded.labels


def load_encoder_model(
    checkpoint: Checkpoint, task: TextTask, settings: TextSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> EncoderModel:
    """Loads a model for one task. Raises ModelRefused."""
    began = time.monotonic()
    with refusals(checkpoint.source):
        recipe = sentence_recipe(checkpoint) if task is TextTask.EMBED else SentenceRecipe()
    loaded = load_text_encoder(replace(checkpoint, subfolder=recipe.subfolder), AUTO_CLASSES[task])
    if recipe.most_tokens:
        loaded = replace(loaded, context_tokens=min(recipe.most_tokens, loaded.context_tokens))
    metrics.model_load_seconds.labels("load").set(time.monotonic() - began)
    warming()
    began = time.monotonic()
    accelerate(loaded)
    bench = Workbench(loaded, TextReader(loaded.tokenizer, loaded.context_tokens), settings, metrics)
    served = serve(task, bench, recipe)
    metrics.model_load_seconds.labels("warm_up").set(time.monotonic() - began)
    return EncoderModel(loaded, served.pipeline, served.verbs, served.tasks, settings)
