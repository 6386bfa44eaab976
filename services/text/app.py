"""Wiring of the text service: settings in, a serving process out."""

import asyncio
import logging
import os
import time
from pathlib import Path

import torch
from prometheus_client import CollectorRegistry

from sensorium import rpc
from sensorium.v1 import models_pb2 as pb
from sensorium.v1.models_pb2_grpc import add_ModelServiceServicer_to_server
from services.engine.generation.admission import QueueLimits
from services.engine.generation.build import BuiltEngine, EngineSettings, build_engine
from services.engine.languages import tags_of
from services.engine.loading import LoadedModel, ModelRefused, Trust, load_language_model, resolve_device
from services.engine.metrics import EngineMetrics
from services.engine.preprocessing import Preprocessing
from services.engine.structure.compiler import StructureCompiler
from services.engine.translation import Translations, find_translations
from services.handlers import handlers
from services.model_servicer import ModelServicer
from services.served_model import ServedModel
from services.text.config import TextSettings
from services.text.servicer import TextServicer, TextVerbs
from services.text.verbs import text_verbs

log = logging.getLogger(__name__)

TEXT_SERVICE = "sensorium.v1.TextService"
MODEL_SERVICE = "sensorium.v1.ModelService"


async def serve(settings: TextSettings) -> None:
    """Serves until told to stop: answers at once, is ready when the model is loaded, checked and warm."""
    service = TextService(settings)
    try:
        await rpc.run(service.server, prepare=service.load)
    finally:
        service.close()


class TextService:
    """One process's server, model and engine."""

    def __init__(self, settings: TextSettings) -> None:
        self._settings = settings
        self._engine: BuiltEngine | None = None
        self._preprocessing: Preprocessing | None = None
        self._structures: StructureCompiler | None = None
        self.registry = CollectorRegistry()
        self._metrics = EngineMetrics(self.registry)
        self._served = ServedModel(settings.name or served_name(settings.model))
        self._servicer = TextServicer(self._served)
        self.server = rpc.Server(settings, (TEXT_SERVICE, MODEL_SERVICE), registry=self.registry, alive=self._alive)
        self.server.grpc.add_generic_rpc_handlers((handlers(TEXT_SERVICE, self._servicer, self._served.name),))
        add_ModelServiceServicer_to_server(ModelServicer(self._served), self.server.grpc)
        # What the model is can be asked while it loads.
        self.server.health.set(MODEL_SERVICE, True)
        self._enter(pb.MODEL_STATE_LOADING)

    async def load(self) -> None:
        """Loads the model and starts its engine.

        Raises:
            rpc.CannotServe: the checkpoint cannot be served; the message says why.
        """
        try:
            loaded = await asyncio.to_thread(self._load)
            self._enter(pb.MODEL_STATE_WARMING)
            self._engine = await asyncio.to_thread(self._build, loaded)
        except ModelRefused as error:
            raise rpc.CannotServe(str(error)) from error
        self._engine.engine.start()
        self._publish(loaded, self._engine)
        self._enter(pb.MODEL_STATE_READY)

    def _alive(self) -> bool:
        built = self._engine
        return built is None or not built.engine.stuck(self._settings.stuck_step_seconds)

    def close(self) -> None:
        """Ends the engine and the threads."""
        if self._engine is not None:
            self._engine.engine.close()
        if self._preprocessing is not None:
            self._preprocessing.close()
        if self._structures is not None:
            self._structures.close()

    def _load(self) -> LoadedModel:
        began = time.monotonic()
        settings = self._settings
        torch.set_num_threads(settings.threads)
        log.info("loading %s", settings.model)
        device = resolve_device(settings.device)
        loaded = load_language_model(
            settings.model,
            revision=settings.revision,
            device=device,
            dtype=settings.dtype,
            quantization=settings.quantization,
            trust=Trust(remote_code=settings.trust_remote_code, pickled_weights=settings.allow_pickle_weights),
        )
        self._metrics.model_load_seconds.labels("load").set(time.monotonic() - began)
        return loaded

    def _build(self, loaded: LoadedModel) -> BuiltEngine:
        began = time.monotonic()
        settings = self._settings
        sizes = EngineSettings(
            max_sequences=settings.max_sequences,
            prefill_tokens=settings.prefill_tokens,
            decode_slowdown=settings.decode_slowdown,
            cache_bytes=settings.cache_mib << 20,
            share_prefixes=settings.prefix_cache,
            unread_tokens=settings.max_unread_tokens,
            queue=QueueLimits(settings.max_queued_requests, settings.max_queued_tokens),
        )
        built = build_engine(loaded, sizes, self._metrics)
        self._structures = StructureCompiler(loaded.tokenizer, built.engine.admission)
        self._metrics.model_load_seconds.labels("warm_up").set(time.monotonic() - began)
        return built

    def _publish(self, loaded: LoadedModel, built: BuiltEngine) -> None:
        """Makes the loaded model what the servicers answer from."""
        preprocessing = self._preprocessing = Preprocessing(built.engine.admission)
        translations = find_translations(loaded)
        assert self._structures is not None
        verbs = text_verbs(loaded, built, translations, preprocessing, self._structures, self._settings)
        self._servicer.verbs = verbs
        describe(self._served.info, loaded, built, self._settings)
        describe_tasks(self._served.info, verbs, translations)

    def _enter(self, state: pb.ModelState.ValueType) -> None:
        self._served.enter(state)
        self._metrics.model_state.set(state)


def served_name(model: str) -> str:
    """Returns the hub id, or the last part of a folder's path."""
    return Path(model).resolve().name if os.path.isdir(model) else model  # noqa: PTH112 - a hub id is no path


def describe(info: pb.ModelInfo, loaded: LoadedModel, built: BuiltEngine, settings: TextSettings) -> None:
    """Fills in what ModelService tells of the model."""
    info.identity.revision = loaded.revision
    info.limits.context_token_count = built.source_tokens or built.context_tokens
    info.limits.queued_request_count = settings.max_queued_requests
    info.limits.queued_token_count = settings.max_queued_tokens
    info.limits.batch_item_count = settings.max_batch_items
    info.limits.message_bytes = settings.message_bytes
    info.limits.vocabulary_token_count = loaded.vocabulary_size
    info.architecture = loaded.architecture
    info.dtype = str(loaded.model.dtype).removeprefix("torch.")
    info.quantization = loaded.quantization
    info.device = str(loaded.device)
    info.parameter_count = loaded.parameter_count
    info.concurrency = built.concurrency
    info.execution_path = pb.EXECUTION_PATH_SERIAL if built.serial else pb.EXECUTION_PATH_BATCHED
    info.execution_path_reason = built.reason


def describe_tasks(info: pb.ModelInfo, verbs: TextVerbs, translations: Translations | None) -> None:
    """Fills in what ModelService tells of what the model can do, and in which languages."""
    info.tasks[:] = [pb.TASK_GENERATE_TEXT]
    if verbs.summarizer is not None:
        info.tasks.append(pb.TASK_SUMMARIZE)
    if verbs.translator is not None:
        info.tasks.append(pb.TASK_TRANSLATE)
    info.tasks.append(pb.TASK_TOKENIZE)
    if translations is not None:
        info.languages[:] = tags_of([*translations.sources, *translations.targets])
