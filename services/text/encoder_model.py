"""A text model that reads once, in memory and answering."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from transformers import AutoModel

from sensorium.v1 import models_pb2 as pb
from services.batched_model import BatchedModel
from services.engine.admission import QueueLimits
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher
from services.engine.batching.pipeline import Pipeline
from services.engine.batching.queue import BatchLimits
from services.engine.checkpoint import Checkpoint, refusals
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.loading import LoadedEncoder, load_text_encoder
from services.engine.encoders.runner import Read, TextRunner
from services.engine.encoders.sentences import SentenceRecipe, sentence_recipe
from services.engine.encoders.tokens import TextReader
from services.engine.metrics import EngineMetrics
from services.engine.prompting import PromptEncoder
from services.text.config import TextSettings
from services.text.embed import TextEmbedder, read_vectors
from services.text.task import TextTask
from services.text.text_list import TextList
from services.text.tokenize import TextTokenizer
from services.text.verb_set import TextVerbs


@dataclass(frozen=True)
class Workbench:
    """What the verbs of every task are made of."""

    loaded: LoadedEncoder
    reader: TextReader
    settings: TextSettings
    metrics: EngineMetrics

    def pipeline(self, read: Read) -> Pipeline:
        """Returns the way through the model that takes its outputs by `read`. There is one for each model."""
        settings, loaded = self.settings, self.loaded
        runner = TextRunner(loaded.model, loaded.device, loaded.pad_id, read)
        admission = BatchAdmission(QueueLimits(settings.max_queued_requests, settings.max_queued_tokens))
        limits = BatchLimits(length=settings.max_batch_tokens)
        wait = settings.batch_wait_ms / 1000
        return Pipeline(Batcher(runner, limits, admission, self.metrics, wait_seconds=wait))

    @property
    def texts(self) -> TextList:
        """The texts of a request, named `texts`."""
        return TextList(self.settings.max_batch_items)


Served = tuple[Pipeline, TextVerbs, Sequence[pb.Task.ValueType]]


def load_encoder_model(
    checkpoint: Checkpoint, task: TextTask, settings: TextSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> BatchedModel:
    """Loads a model for one task. Raises ModelRefused."""
    began = time.monotonic()
    with refusals(checkpoint.source):
        recipe = sentence_recipe(checkpoint) if task is TextTask.EMBED else SentenceRecipe()
    loaded = load_text_encoder(replace(checkpoint, subfolder=recipe.subfolder), _AUTO_CLASSES[task])
    if recipe.most_tokens:
        loaded = replace(loaded, context_tokens=min(recipe.most_tokens, loaded.context_tokens))
    metrics.model_load_seconds.labels("load").set(time.monotonic() - began)
    warming()
    began = time.monotonic()
    accelerate(loaded)
    bench = Workbench(loaded, TextReader(loaded.tokenizer, loaded.context_tokens), settings, metrics)
    pipeline, verbs, tasks = _MAKERS[task](bench, recipe)
    metrics.model_load_seconds.labels("warm_up").set(time.monotonic() - began)
    limits = pb.ModelLimits(
        context_token_count=loaded.context_tokens,
        queued_token_count=settings.max_queued_tokens,
        vocabulary_token_count=loaded.vocabulary_size,
    )
    return BatchedModel(loaded, pipeline, verbs, [*tasks, pb.TASK_TOKENIZE], limits)


def _embedding(bench: Workbench, recipe: SentenceRecipe) -> Served:
    settings, loaded = bench.settings, bench.loaded
    pipeline = bench.pipeline(partial(read_vectors, recipe))
    width = recipe.width or int(loaded.model.config.get_text_config().hidden_size)
    embedder = TextEmbedder(pipeline, bench.reader, recipe, bench.texts, width, settings.message_bytes)
    return pipeline, TextVerbs(tokenizer=_tokenizer(bench, pipeline), embedder=embedder), [pb.TASK_EMBED_TEXT]


def _tokenizer(bench: Workbench, pipeline: Pipeline) -> TextTokenizer:
    loaded = bench.loaded
    encoder = PromptEncoder(loaded.tokenizer, loaded.context_tokens)
    return TextTokenizer(encoder, loaded.vocabulary_size, bench.settings.max_batch_items, pipeline.preprocessing)


_AUTO_CLASSES: dict[TextTask, Any] = {TextTask.EMBED: AutoModel}
_MAKERS: dict[TextTask, Callable[[Workbench, SentenceRecipe], Served]] = {TextTask.EMBED: _embedding}
"""Return the verbs of a task, and what they run on."""
