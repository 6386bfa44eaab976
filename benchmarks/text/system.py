"""The systems compared: how each is started on the servers' core, and how it is called."""

import sys
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import sensorium
from benchmarks.text.batches import BatchCaller
from benchmarks.text.caller import Caller, Dialect, GrpcCaller, HttpCaller
from benchmarks.text.environment import TRANSFORMERS, VLLM, environment
from benchmarks.text.pipe import PipeCaller
from benchmarks.text.process import SERVER_CORE, Process, free_port
from benchmarks.text.workload import SHARED
from sensorium.v1.models_pb2 import MODEL_STATE_READY, ListModelsRequest


@dataclass
class Running:
    """A system on its way and in use. As a context manager it stops all of its processes, by id."""

    model: Path
    cache: Path
    processes: list[Process] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self.processes:
            self.processes.pop().stop()

    def start(
        self,
        name: str,
        command: list[str],
        extra: Mapping[str, str] | None = None,
        *,
        answers: bool = False,
        core: int | None = SERVER_CORE,
    ) -> Process:
        """Starts one more process of it; see Process."""
        process = Process(command, self.cache / f"logs/{name}.log", extra, answers=answers, core=core)
        self.processes.append(process)
        return process


@dataclass(frozen=True)
class System:
    """One thing to measure."""

    name: str
    about: str
    start: Callable[[Running], Caller]
    """Starts it, waits until it is ready, and returns how it is called."""
    batched: bool = False
    """Static batches instead of requests that come and go."""
    only: str | None = None
    """The one workload it is there for; None: all."""


def _ours(running: Running) -> GrpcCaller:
    return GrpcCaller(_text_service(running))


def _ours_uncached(running: Running) -> GrpcCaller:
    return GrpcCaller(_text_service(running, "--no-prefix-cache"))


def _ours_through_gateway(running: Running) -> GrpcCaller:
    return GrpcCaller(_house(running, "gateway", ["--static", f"127.0.0.1:{_text_service(running)}"]))


def _text_service(running: Running, *more: str) -> int:
    return _house(running, "services.text", ["--model", str(running.model), "--device", "cpu", *more])


def _house(running: Running, module: str, arguments: list[str]) -> int:
    """Starts a process of this repository and returns its port once it serves."""
    port = free_port()
    ports = ["--port", str(port), "--metrics-port", str(free_port()), "--drain-delay-seconds", "0"]
    process = running.start(module, [sys.executable, "-m", module, *arguments, *ports])
    process.wait(lambda: serves(port))
    return port


def _transformers_serve(running: Running) -> HttpCaller:
    port, model = free_port(), str(running.model)
    program = environment(TRANSFORMERS, running.cache) / "transformers"
    arguments = ["serve", model, "--continuous-batching", "--device", "cpu"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    process = running.start("transformers-serve", [str(program), *arguments, *address])
    process.wait(lambda: answers(f"http://127.0.0.1:{port}/health"))
    return HttpCaller(port, Dialect(model, token_ids=False, extra={}))


def _vllm(running: Running) -> HttpCaller:
    port = free_port()
    # The `vllm` program itself asks for the version of a package of that name, which this one is not.
    program = [str(environment(VLLM, running.cache) / "python"), "-m", "vllm.entrypoints.openai.api_server"]
    arguments = ["--model", str(running.model), "--served-model-name", "m", "--disable-uvicorn-access-log"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    # It binds its threads itself; left alone it chooses the cores by what it finds.
    extra = {"VLLM_CPU_OMP_THREADS_BIND": str(SERVER_CORE), "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    extra["VLLM_CACHE_ROOT"] = str(running.cache / "vllm-cache")
    process = running.start("vllm-cpu", [*program, *arguments, *address], extra)
    process.wait(lambda: answers(f"http://127.0.0.1:{port}/health"))
    options = {"stream_options": {"include_usage": True}, "return_token_ids": True}
    return HttpCaller(port, Dialect("m", token_ids=True, extra=options | {"temperature": 0.0, "ignore_eos": True}))


def _engine(running: Running) -> PipeCaller:
    command = [sys.executable, "-m", "benchmarks.text.engine", "--model", str(running.model)]
    return PipeCaller(running.start("engine", command, answers=True))


def _generate(running: Running) -> BatchCaller:
    command = [sys.executable, "-m", "benchmarks.text.generate", "--model", str(running.model)]
    return BatchCaller(running.start("generate", command, answers=True))


SYSTEMS = {
    system.name: system
    for system in (
        System("sensorium", "python -m services.text, called over gRPC", _ours),
        System("sensorium-uncached", "the same with --no-prefix-cache", _ours_uncached, only=SHARED),
        System("sensorium-gateway", "the same behind python -m gateway on the same core", _ours_through_gateway),
        System("engine", "the engine of the text service in process, without a server", _engine),
        System("transformers-serve", "transformers serve --continuous-batching, called over HTTP", _transformers_serve),
        System("vllm-cpu", "vLLM's OpenAI server for CPUs, called over HTTP", _vllm),
        System("generate", "model.generate in static batches, without a server", _generate, batched=True),
    )
}


def serves(port: int) -> bool:
    """Returns whether a service or gateway of this repository has models that are all ready."""
    try:
        with sensorium.Client(f"127.0.0.1:{port}", retry=None) as client:
            models = client.models.list_models(ListModelsRequest(), timeout=2.0).models
    except sensorium.SensoriumError:
        return False
    return bool(models) and all(model.state == MODEL_STATE_READY for model in models)


def answers(url: str) -> bool:
    """Returns whether a URL is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as response:  # noqa: S310 - our own loopback server
            return response.status == 200
    except OSError:
        return False
