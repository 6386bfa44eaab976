"""Loads a text encoder for one task and makes the service that answers with it."""

from collections.abc import Callable
from dataclasses import replace

from sensorium.v1 import models_pb2 as pb
from services.engine.checkpoint import Checkpoint, refusals
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.company import company_of
from services.engine.encoders.loading import load_text_encoder
from services.engine.encoders.reader import TextReader
from services.engine.encoders.sentences import SentenceRecipe, sentence_recipe
from services.engine.encoders.trial import try_reading
from services.engine.metrics import EngineMetrics
from services.plain_service import PlainService
from services.text.config import TextSettings
from services.text.task import TextTask
from services.text.understanding.encoder_tasks import AUTO_CLASSES, Workbench, serve


def load_encoder_model(
    checkpoint: Checkpoint, task: TextTask, settings: TextSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> PlainService:
    """Loads a model for one task and warms it up; `warming` is called between the two.

    Raises:
        ModelRefused: the checkpoint cannot be served for this task; the message says why.
    """
    with metrics.loading("load"):
        with refusals(checkpoint.source):
            recipe = sentence_recipe(checkpoint) if task is TextTask.EMBED else SentenceRecipe()
        loaded = load_text_encoder(replace(checkpoint, subfolder=recipe.subfolder), AUTO_CLASSES[task])
        if recipe.most_tokens:
            loaded = replace(loaded, context_tokens=min(recipe.most_tokens, loaded.context_tokens))
    warming()
    with metrics.loading("warm_up"):
        accelerate(loaded)
        reader = TextReader(loaded.tokenizer, loaded.context_tokens, vocabulary_size=loaded.vocabulary_size)
        try_reading(loaded, reader, pair=task is TextTask.ANSWER_QUESTION, vectors=task is TextTask.EMBED)
        bench = Workbench(loaded, reader, settings, metrics, company_of(loaded))
        served = serve(task, bench, recipe)
    limits = pb.ModelLimits(
        context_token_count=loaded.context_tokens,
        queued_token_count=settings.max_queued_tokens,
        vocabulary_token_count=loaded.vocabulary_size,
    )
    return PlainService(loaded, served.pipeline, served.verbs, [*served.tasks, pb.TASK_TOKENIZE], limits)
