"""The systems compared: how each is started on the servers' core, and how it is called."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

import sensorium
from benchmarks.encoders.inputs import pictures, text
from benchmarks.encoders.load import Call
from benchmarks.text.environment import INFINITY, ONNX_RUNTIME, environment
from benchmarks.text.process import ROOT, SERVER_CORE, free_port
from benchmarks.text.system import Running, answers, serves
from sensorium.v1.common_pb2 import Media
from sensorium.v1.text_pb2 import EmbedRequest
from sensorium.v1.vision_pb2 import ClassifyImageRequest

WIDTH = 768


def service(running: Running, module: str, *arguments: str, core: int = SERVER_CORE) -> str:
    """Starts a service of this repository and returns its address once it serves."""
    port = free_port()
    ports = ["--port", str(port), "--metrics-port", str(free_port()), "--drain-delay-seconds", "0"]
    command = [sys.executable, "-m", module, "--device", "cpu", *arguments, *ports]
    process = running.start(module, command, core=core)
    process.wait(lambda: serves(port))
    return f"127.0.0.1:{port}"


@asynccontextmanager
async def embedding(address: str) -> AsyncIterator[Call]:
    """Calls Embed with one text."""
    async with sensorium.AsyncClient(address, retry=None, timeout=120) as client:

        async def call(number: int) -> None:
            answer = await client.text.embed(EmbedRequest(texts=[text("load", number)]))
            assert len(answer.embeddings[0].values) == WIDTH

        yield call


@asynccontextmanager
async def classifying(address: str) -> AsyncIterator[Call]:
    """Calls ClassifyImage with one photograph."""
    files = pictures()
    async with sensorium.AsyncClient(address, retry=None, timeout=120) as client:

        async def call(number: int) -> None:
            image = Media(data=files[number % len(files)])
            answer = await client.vision.classify_image(ClassifyImageRequest(images=[image], top_k=5))
            assert len(answer.results[0].labels) == 5

        yield call


def infinity(running: Running, model: Path) -> str:
    """Starts infinity's server, with as many items to a batch as ours at most, and returns its URL."""
    port = free_port()
    program = environment(INFINITY, running.cache) / "infinity_emb"
    arguments = ["v2", "--model-id", str(model), "--engine", "torch", "--device", "cpu", "--dtype", "bfloat16"]
    more = ["--no-bettertransformer", "--batch-size", "64", "--log-level", "error", "--served-model-name", "m"]
    quiet = {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    command = [str(program), *arguments, *more, "--host", "127.0.0.1", "--port", str(port)]
    process = running.start("infinity", command, quiet)
    process.wait(lambda: answers(f"http://127.0.0.1:{port}/health"))
    return f"http://127.0.0.1:{port}/embeddings"


@asynccontextmanager
async def posting(url: str) -> AsyncIterator[Call]:
    """Posts one text."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(number: int) -> None:
            body = {"model": "m", "input": [text("load", number)]}
            async with session.post(url, json=body) as response:
                answer = await response.json()
            assert len(answer["data"][0]["embedding"]) == WIDTH

        yield call


def onnx_runtime(running: Running, model: Path, seconds: float) -> float:
    """Returns items per second of ONNX Runtime in process."""
    python = environment(ONNX_RUNTIME, running.cache) / "python"
    script = str(ROOT / "benchmarks/encoders/onnx_batches.py")
    return _rate(running, "onnxruntime", [str(python), script, "--model", str(model), "--seconds", str(seconds)])


def plain(running: Running, kind: str, model: Path, seconds: float) -> float:
    """Returns items per second of transformers in process, in bfloat16."""
    command = [sys.executable, "-m", "benchmarks.encoders.batches", kind, "--model", str(model)]
    return _rate(running, f"plain-{kind}", [*command, "--seconds", str(seconds)])


def _rate(running: Running, name: str, command: list[str]) -> float:
    process = running.start(name, command, answers=True)
    assert process.popen.stdout is not None
    lines = process.popen.stdout.read().decode().split()
    process.popen.wait()
    if process.popen.returncode or not lines:
        raise RuntimeError(f"{name} failed:\n{process.last_lines()}")
    return float(lines[-1])
