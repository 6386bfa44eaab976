"""Loads an image-to-text model and makes its verbs."""

from collections.abc import Callable, Sequence

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.generation.building.build import build_engine
from services.engine.loading import LoadedModel
from services.engine.media.image import ImageLimits
from services.engine.metrics import EngineMetrics
from services.engine.pictures.families import Blip
from services.engine.pictures.loading import load_picture_model
from services.engine.pictures.reader import PictureReader
from services.generation.engine_facts import engine_settings
from services.generation.generator_parts import GeneratorParts
from services.multimodal.config import MultimodalSettings
from services.multimodal.image_to_text.picture_asks import PictureAsks
from services.multimodal.image_to_text.picture_generator import PictureGenerator
from services.multimodal.task import MultimodalTask
from services.multimodal.verb_set import MultimodalVerbs
from services.multimodal.writing.generating_model import WRITING_TASKS, GeneratingModel
from services.multimodal.writing.writer import Writer


def load_writing_model(
    checkpoint: Checkpoint, settings: MultimodalSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> GeneratingModel:
    """Loads an image-to-text model and warms it up; `warming` is called between the two.

    Raises:
        ModelRefused: the checkpoint cannot be served; the message says why.
    """
    with metrics.loading("load"):
        loaded = load_picture_model(checkpoint)
    warming()
    with metrics.loading("warm_up"):
        built = build_engine(loaded, engine_settings(settings, settings.media_cache_mib), metrics)
        parts = GeneratorParts.of(loaded, built, settings)
        assert loaded.pictures is not None
        assert built.media_cache is not None
        images = ImageLimits(settings.media_bytes, settings.image_pixels)
        reader = PictureReader(loaded.pictures, built.media_cache, images)
        generator = PictureGenerator(parts, reader)
        tasks = _tasks(loaded, settings.task)
    verbs = _verbs(loaded, generator, tasks)
    told = [WRITING_TASKS[task] for task in tasks]
    return GeneratingModel(loaded, built, parts.threads, verbs, settings, told)


def _tasks(loaded: LoadedModel, wanted: str) -> Sequence[MultimodalTask]:
    """Returns the tasks to serve: that of `--task`, or those the model was trained for."""
    pictures = loaded.pictures
    assert pictures is not None
    if not pictures.reads_question:
        framed = _id_of(loaded, "<s_docvqa>") is not None
        own = [MultimodalTask.ANSWER_DOCUMENT_QUESTION if framed else MultimodalTask.CAPTION]
    elif isinstance(pictures, Blip):
        own = [MultimodalTask.ANSWER_IMAGE_QUESTION]
    else:
        own = [MultimodalTask.ANSWER_IMAGE_QUESTION, MultimodalTask.ANSWER_DOCUMENT_QUESTION]
    if wanted == "auto":
        return own
    chosen = MultimodalTask(wanted)
    if chosen not in WRITING_TASKS or (pictures.reads_question and chosen not in own):
        raise ModelRefused(f"{loaded.architecture} cannot be served for --task {wanted}: leave it out.")
    return [chosen]


def _verbs(loaded: LoadedModel, generator: PictureGenerator, tasks: Sequence[MultimodalTask]) -> MultimodalVerbs:
    pictures = loaded.pictures
    assert pictures is not None
    asks = PictureAsks.of(pictures.reads_question, loaded.defaults, lambda token: _id_of(loaded, token))
    captions = MultimodalTask.CAPTION in tasks
    images = MultimodalTask.ANSWER_IMAGE_QUESTION in tasks
    documents = MultimodalTask.ANSWER_DOCUMENT_QUESTION in tasks
    return MultimodalVerbs(
        captioner=Writer(generator, asks.caption, "prompt") if captions else None,
        image_writer=Writer(generator, asks.image_question, "question") if images else None,
        document_writer=Writer(generator, asks.document_question, "question") if documents else None,
    )


def _id_of(loaded: LoadedModel, token: str) -> int | None:
    """Returns the id of a token, or None if it is not in the vocabulary."""
    return loaded.tokenizer.get_vocab().get(token)
