"""One process that serves one model: it answers from the start, and is ready once the model is loaded and checked."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from prometheus_client import CollectorRegistry

from sensorium import rpc
from sensorium.errors import ModelNotReady
from sensorium.v1 import models_pb2 as pb
from sensorium.v1.models_pb2_grpc import add_ModelServiceServicer_to_server
from services.answer_meter import AnswerMeter
from services.engine.adapters.choice import choose
from services.engine.checkpoint import Checkpoint, ModelRefused, Trust
from services.engine.device import gpu_memory
from services.engine.device.name import resolve_device
from services.engine.metrics import EngineMetrics
from services.engine.threads.engine_threads import EngineThreads
from services.handlers import handlers
from services.library_logs import adopt_library_logs
from services.model_servicer import ModelServicer
from services.served_model import ServedModel
from services.settings import ModelSettings
from services.watchdog import Watchdog

log = logging.getLogger(__name__)

MODEL_SERVICE = "sensorium.v1.ModelService"

Settings = TypeVar("Settings", bound=ModelSettings)
Loaded = TypeVar("Loaded")


class LoadedService(Protocol):
    """A model in memory, with the threads that run it and what answers from it."""

    @property
    def threads(self) -> EngineThreads[Any]:
        """What runs the model."""
        ...

    @property
    def verbs(self) -> Any:
        """The verbs that the servicer calls."""
        ...

    def describe(self, info: pb.ModelInfo) -> None:
        """Fills in what ModelService tells of the model, or what differs of an adapter: it has a `base_model`."""
        ...


class Servicer(Protocol):
    """The RPCs of one service, which can be answered once `verbs` is set."""

    verbs: Any


class ModelProcess(Generic[Settings]):
    """One process's server and model."""

    def __init__(
        self,
        settings: Settings,
        service: str,
        make_servicer: Callable[[ServedModel], Servicer],
        load: Callable[[Settings, EngineMetrics, Callable[[], None]], LoadedService],
        adapters: Sequence[str] = (),
    ) -> None:
        """Makes the process of `service`, a full name of the contract.

        `adapters` are names of adapters that requests may use as the model's name.
        `load` loads the model, in a thread of its own. It calls its last argument once the weights are loaded, and
        raises ModelRefused.
        """
        self._settings = settings
        self._load = load
        self._loaded: LoadedService | None = None
        self.registry = CollectorRegistry()
        self._metrics = EngineMetrics(self.registry)
        self._served = ServedModel(name_of(settings), adapters=adapters)
        self._servicer = make_servicer(self._served)
        self.server = rpc.Server(
            settings,
            (service, MODEL_SERVICE),
            name=service.rpartition(".")[2].removesuffix("Service").lower(),
            observer=AnswerMeter(self._metrics),
            registry=self.registry,
            alive=lambda: not self._trouble(),
        )
        self.server.grpc.add_generic_rpc_handlers((handlers(service, self._servicer, self._served.name),))
        add_ModelServiceServicer_to_server(ModelServicer(self._served), self.server.grpc)
        # What the model is can be asked while it loads.
        self.server.health.set(MODEL_SERVICE, True)
        self._enter(pb.MODEL_STATE_LOADING)

    async def serve(self) -> None:
        """Serves until told to stop."""
        adopt_library_logs()
        loop = asyncio.get_running_loop()
        watchdog = Watchdog(
            self._trouble,
            lambda reason: asyncio.run_coroutine_threadsafe(self.fail(reason), loop),
            self._settings.stuck_step_seconds,
        )
        try:
            await rpc.run(self.server, prepare=self.load)
        finally:
            self.close()
            watchdog.stop()

    async def fail(self, reason: str) -> None:
        """Ends all calls and refuses new ones: the model has stopped working for one of `faults.REASONS`."""
        self._metrics.faults.labels(reason).inc()
        detail = f"It has stopped working ({reason}); the process restarts."
        self._served.enter(pb.MODEL_STATE_FAILED, detail)
        self._metrics.model_state.set(pb.MODEL_STATE_FAILED)
        metadata = {"model": self._served.name, "state": "failed"}
        await self.server.fail(
            ModelNotReady(f"{self._served.name} has stopped working.", metadata=metadata, retry_after=2)
        )

    async def load(self) -> None:
        """Loads the model and starts it.

        Raises:
            rpc.CannotServe: the checkpoint cannot be served; the message says why.
        """
        loop = asyncio.get_running_loop()

        def warming() -> None:
            loop.call_soon_threadsafe(self._enter, pb.MODEL_STATE_WARMING)

        log.info("loading %s", self._settings.model)
        try:
            loaded = self._loaded = await _in_a_thread(lambda: self._load(self._settings, self._metrics, warming))
        except ModelRefused as error:
            raise rpc.CannotServe(str(error)) from error
        loaded.threads.start()
        self._servicer.verbs = loaded.verbs
        info = self._served.info
        loaded.describe(info)
        describe_settings(info, self._settings)
        self._served.describe_adapters(loaded.describe)
        gpu_memory.watch(self._metrics.gpu_memory_bytes, info.device)
        self._enter(pb.MODEL_STATE_READY)

    def close(self) -> None:
        """Ends the model's threads."""
        if self._loaded is not None:
            self._loaded.threads.close()

    def _trouble(self) -> str:
        return "" if self._loaded is None else self._loaded.threads.trouble(self._settings.stuck_step_seconds)

    def _enter(self, state: pb.ModelState.ValueType) -> None:
        self._served.enter(state)
        self._metrics.model_state.set(state)


async def _in_a_thread(call: Callable[[], Loaded]) -> Loaded:
    """Returns what `call` does. The process may end before, where a thread of the event loop would be waited for."""
    result: Future[Loaded] = Future()
    result.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="load", daemon=True).start()
    return await asyncio.wrap_future(result)


def checkpoint_of(settings: ModelSettings, *, convolving: bool = False) -> Checkpoint:
    """Returns the checkpoint to load, for models that are `convolving` or not, and sets torch's number of threads.

    Raises:
        ModelRefused: there is no such device here, or no such model or adapter.
    """
    trust = Trust(remote_code=settings.trust_remote_code, pickled_weights=settings.allow_pickle_weights)
    choice = choose(settings.model, settings.revision, settings.adapter, trust)
    torch.set_num_threads(settings.threads)
    return Checkpoint(
        choice.source,
        resolve_device(settings.device),
        revision=choice.revision,
        dtype=settings.dtype,
        convolving=convolving,
        quantization=settings.quantization,
        trust=trust,
        adapter=choice.adapter,
    )


def name_of(settings: ModelSettings) -> str:
    """Returns the name that a model is served under."""
    return settings.name or served_name(settings.adapter or settings.model)


def served_name(model: str) -> str:
    """Returns a hub id without its revision, or the last part of a folder's path."""
    is_folder = os.path.isdir(model)  # noqa: PTH112 - a hub id is no path
    return Path(model).resolve().name if is_folder else model.partition("@")[0]


def describe_settings(info: pb.ModelInfo, settings: ModelSettings) -> None:
    """Fills in the settings: the limits, and the merged adapter, whose revision follows the model's after a `+`."""
    if revision := info.identity.revision.partition("+")[2]:
        info.adapters.add(name=served_name(settings.adapter or settings.model), revision=revision)
    info.limits.queued_request_count = settings.max_queued_requests
    info.limits.batch_item_count = settings.max_batch_items
    info.limits.message_bytes = settings.message_bytes
