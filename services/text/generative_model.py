"""Loads a generative text model and makes the service that answers with it."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from sensorium.v1 import models_pb2 as pb
from services.engine.adapters.named import read_named, with_adapters
from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.generation.building.build import BuiltEngine, build_engine
from services.engine.generation.engine import GenerationEngine
from services.engine.language.languages import tags_of
from services.engine.language.responses.formats import ResponseFormat
from services.engine.language.translation import Translations, find_translations
from services.engine.loading import LoadedModel, load_language_checkpoint
from services.engine.metrics import EngineMetrics
from services.engine.parallel.group import Rank
from services.engine.parallel.leading import Leading, divided, started_rank
from services.generation.answer_parsing import response_format
from services.generation.engine_facts import describe, describe_chat, engine_settings
from services.generation.generation_threads import GenerationThreads
from services.process import name_of
from services.text.config import TextSettings
from services.text.rank import letter_to, step_seconds
from services.text.verb_set import TextVerbs
from services.text.verbs import text_verbs


class _RankThreads(GenerationThreads):
    """The engine's threads for a tensor-parallel model, together with the processes of the other ranks."""

    def __init__(self, engine: GenerationEngine, tokenizer: PreTrainedTokenizerBase, ranks: Leading) -> None:
        super().__init__(engine, tokenizer)
        self._ranks = ranks

    def trouble(self, seconds: float) -> str:
        """See EngineThreads."""
        return self._ranks.trouble() or super().trouble(seconds)

    def close(self) -> None:
        """See EngineThreads."""
        super().close()
        self._ranks.close()


@dataclass(frozen=True)
class GenerativeModel:
    """A generative model ready to serve: see LoadedService."""

    model: LoadedModel
    built: BuiltEngine
    translations: Translations | None
    threads: GenerationThreads
    verbs: TextVerbs
    settings: TextSettings
    format: ResponseFormat | None
    """The format of its answers in conversations, if it is known."""

    def describe(self, info: pb.ModelInfo) -> None:
        """See LoadedService."""
        if info.base_model:
            self._describe_adapter(info)
            return
        describe(info, self.model, self.built, self.settings)
        describe_chat(info, self.model.tokenizer, self.format)
        describe_tasks(info, self.verbs, self.translations)
        for adapter in info.named_adapters:
            assert self.model.adapters is not None
            adapter.revision = self.model.adapters.named[adapter.name].revision

    def _describe_adapter(self, info: pb.ModelInfo) -> None:
        assert self.model.adapters is not None
        if own := self.model.adapters.named[info.identity.name].tokenizer:
            describe_chat(info, own, response_format(own, self.settings.response_template))


def load_generative_model(
    checkpoint: Checkpoint,
    settings: TextSettings,
    metrics: EngineMetrics,
    warming: Callable[[], None],
) -> GenerativeModel:
    """Loads a decoder-only or encoder-decoder model and warms it up; `warming` is called between the two.

    Raises:
        ModelRefused: the checkpoint cannot be served; the message says why.
    """
    if settings.tensor_parallel == 1:
        return _load(checkpoint, settings, metrics, warming, None)
    size = settings.tensor_parallel
    if settings.adapters:
        raise ModelRefused(
            f"--adapters stay beside a model on one device, and --tensor-parallel {size} divides it. Serve each by "
            "itself: --adapter merges it into the model."
        )
    rank = started_rank(size)
    checkpoint = divided(checkpoint, settings.device, rank or Rank(0, size))
    ranks = Leading(
        checkpoint,
        rank,
        step_seconds(settings),
        "services.text.follower",
        lambda other: letter_to(other, settings),
    )
    try:
        return _load(checkpoint, settings, metrics, warming, ranks)
    except BaseException:
        ranks.close()
        raise


def _load(
    checkpoint: Checkpoint,
    settings: TextSettings,
    metrics: EngineMetrics,
    warming: Callable[[], None],
    ranks: Leading | None,
) -> GenerativeModel:
    with metrics.loading("load"):
        if (name := name_of(settings)) in settings.adapter_places:
            raise ModelRefused(
                f"--adapters calls an adapter {name}, as the model is called. Give one of them another name."
            )
        adapters = read_named(settings.adapter_places, checkpoint.trust)
        loaded = with_adapters(load_language_checkpoint(checkpoint), adapters, checkpoint.trust)
    warming()
    with metrics.loading("warm_up"):
        build = build_engine if ranks is None else ranks.build
        built = build(loaded, engine_settings(settings), metrics)
        given = built.engine, loaded.tokenizer
        threads = GenerationThreads(*given) if ranks is None else _RankThreads(*given, ranks)
        translations = find_translations(loaded)
        known = response_format(loaded.tokenizer, settings.response_template)
        verbs = text_verbs(loaded, built, translations, threads, settings, known)
    return GenerativeModel(loaded, built, translations, threads, verbs, settings, known)


def describe_tasks(info: pb.ModelInfo, verbs: TextVerbs, translations: Translations | None) -> None:
    """Fills in the model's tasks and languages for ModelService."""
    info.tasks[:] = [pb.TASK_GENERATE_TEXT]
    if verbs.summarizer is not None:
        info.tasks.append(pb.TASK_SUMMARIZE)
    if verbs.translator is not None:
        info.tasks.append(pb.TASK_TRANSLATE)
    info.tasks.append(pb.TASK_TOKENIZE)
    if translations is not None:
        info.languages[:] = tags_of([*translations.sources, *translations.targets])
