"""Loads a model that generates from conversations with images and recordings, and makes its verbs."""

from collections.abc import Callable, Sequence

from sensorium.v1 import models_pb2 as pb
from services.engine.checkpoint import Checkpoint
from services.engine.generation.building.build import BuiltEngine, build_engine
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import LoadedModel
from services.engine.media.image import ImageLimits
from services.engine.media.recording import AudioLimits
from services.engine.metrics import EngineMetrics
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.loading import load_multimodal_model
from services.engine.multimodal.prompts import PromptComposer
from services.engine.multimodal.reader import MediaReader
from services.generation.answer_parsing import response_format
from services.generation.engine_facts import engine_settings
from services.generation.generator_parts import GeneratorParts
from services.multimodal.chat import chat_asks
from services.multimodal.chat.generate import MediaPrompts, MultimodalGenerator
from services.multimodal.config import MultimodalSettings
from services.multimodal.verb_set import MultimodalVerbs
from services.multimodal.writing.generating_model import WRITING_TASKS, GeneratingModel
from services.multimodal.writing.writer import Writer


def load_chat_model(
    checkpoint: Checkpoint, settings: MultimodalSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> GeneratingModel:
    """Loads a model whose prompt tokens include media, and warms it up; `warming` is called between the two.

    Raises:
        ModelRefused: the checkpoint cannot be served; the message says why.
    """
    with metrics.loading("load"):
        loaded = load_multimodal_model(checkpoint)
    warming()
    with metrics.loading("warm_up"):
        built = build_engine(loaded, engine_settings(settings, settings.media_cache_mib), metrics)
        known = response_format(loaded.tokenizer, settings.response_template)
        parts = GeneratorParts.of(loaded, built, settings, known)
        generator = MultimodalGenerator(parts, _prompts(loaded, built, settings, parts.encoder))
    tasks, verbs = _abilities(loaded, generator)
    return GeneratingModel(loaded, built, parts.threads, verbs, settings, tasks, known)


def _abilities(
    loaded: LoadedModel, generator: MultimodalGenerator
) -> tuple[Sequence[pb.Task.ValueType], MultimodalVerbs]:
    """Returns the tasks and verbs of a model. Captions and questions need images and a chat template."""
    assert loaded.media is not None
    if MediaKind.IMAGE not in loaded.media.kinds or loaded.tokenizer.chat_template is None:
        return [pb.TASK_GENERATE_MULTIMODAL], MultimodalVerbs(generator=generator)
    verbs = MultimodalVerbs(
        generator=generator,
        captioner=Writer(generator, chat_asks.caption, "prompt"),
        image_writer=Writer(generator, chat_asks.image_question, "question"),
        document_writer=Writer(generator, chat_asks.document_question, "question"),
    )
    return [pb.TASK_GENERATE_MULTIMODAL, *WRITING_TASKS.values()], verbs


def _prompts(
    loaded: LoadedModel, built: BuiltEngine, settings: MultimodalSettings, encoder: PromptEncoder
) -> MediaPrompts:
    assert loaded.media is not None
    assert built.media_cache is not None
    images = ImageLimits(settings.media_bytes, settings.image_pixels)
    recordings = AudioLimits(settings.media_bytes, settings.audio_seconds)
    reader = MediaReader(loaded.media, built.media_cache, images, recordings)
    composer = PromptComposer(loaded.media, encoder, loaded.model)
    return MediaPrompts(reader, composer, settings.max_prompt_media, loaded.media.manner.alone)
