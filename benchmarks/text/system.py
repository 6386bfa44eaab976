"""The compared systems: how each is started on the servers' core, and how it is called."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import TRANSFORMERS, VLLM, environment
from benchmarks.process import SERVER_CORE
from benchmarks.running import Running, Server, answers
from benchmarks.text.batches import BatchCaller
from benchmarks.text.caller import Caller, Dialect, GrpcCaller, HttpCaller
from benchmarks.text.pipe import PipeCaller
from benchmarks.text.workload import SHARED
from local.stack import free_ports


@dataclass(frozen=True)
class System:
    """One system to measure."""

    name: str
    start: Callable[[Running, Path], Caller]
    """Starts it with a model's folder, waits until it is ready, and returns its client."""
    batched: bool = False
    """Whether it runs static batches instead of continuous requests."""
    only: str | None = None
    """The only workload it is measured with; None: all."""


def _ours(running: Running, model: Path) -> GrpcCaller:
    """The text service, called over gRPC."""
    return GrpcCaller(_text_service(running, model).port)


def _ours_uncached(running: Running, model: Path) -> GrpcCaller:
    """The same with --no-prefix-cache."""
    return GrpcCaller(_text_service(running, model, "--no-prefix-cache").port)


def _ours_through_gateway(running: Running, model: Path) -> GrpcCaller:
    """The same behind a gateway on the same core."""
    return GrpcCaller(running.serve("gateway", "--static", _text_service(running, model).address).port)


def _text_service(running: Running, model: Path, *more: str) -> Server:
    return running.serve("services.text", "--model", str(model), "--device", "cpu", *more)


def _transformers_serve(running: Running, model: Path) -> HttpCaller:
    """`transformers serve --continuous-batching`, called over HTTP."""
    (port,) = free_ports(1)
    program = environment(TRANSFORMERS, running.cache) / "transformers"
    arguments = ["serve", str(model), "--continuous-batching", "--device", "cpu"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    process = running.start("transformers-serve", [str(program), *arguments, *address])
    process.wait(lambda: answers(f"http://127.0.0.1:{port}/health"))
    return HttpCaller(port, Dialect(str(model), token_ids=False, extra={}))


def _vllm(running: Running, model: Path) -> HttpCaller:
    """VLLM's OpenAI server for CPUs, called over HTTP."""
    (port,) = free_ports(1)
    # The `vllm` program looks up the version of a package called vllm, but this build has another name.
    program = [str(environment(VLLM, running.cache) / "python"), "-m", "vllm.entrypoints.openai.api_server"]
    arguments = ["--model", str(model), "--served-model-name", "m", "--disable-uvicorn-access-log"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    # It binds its threads to cores itself, and by default chooses these cores on its own.
    extra = {"VLLM_CPU_OMP_THREADS_BIND": str(SERVER_CORE), "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    extra["VLLM_CACHE_ROOT"] = str(running.cache / "vllm-cache")
    process = running.start("vllm-cpu", [*program, *arguments, *address], extra)
    process.wait(lambda: answers(f"http://127.0.0.1:{port}/health"))
    options = {"stream_options": {"include_usage": True}, "return_token_ids": True}
    return HttpCaller(port, Dialect("m", token_ids=True, extra=options | {"temperature": 0.0, "ignore_eos": True}))


def _engine(running: Running, model: Path) -> PipeCaller:
    """The engine of the text service in its own process, without a server."""
    return PipeCaller(running.run("benchmarks.text.engine", "--model", str(model), answers=True))


def _generate(running: Running, model: Path) -> BatchCaller:
    """`model.generate` in static batches, without a server."""
    return BatchCaller(running.run("benchmarks.text.generate", "--model", str(model), answers=True))


SYSTEMS = {
    system.name: system
    for system in (
        System("sensorium", _ours),
        System("sensorium-uncached", _ours_uncached, only=SHARED),
        System("sensorium-gateway", _ours_through_gateway),
        System("engine", _engine),
        System("transformers-serve", _transformers_serve),
        System("vllm-cpu", _vllm),
        System("generate", _generate, batched=True),
    )
}
