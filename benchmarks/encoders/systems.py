"""The compared systems: how each is started on the servers' core, and how it is called."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

import sensorium
from benchmarks.encoders.inputs import pictures, text
from benchmarks.encoders.load import Call
from benchmarks.environment import INFINITY, ONNX_RUNTIME, environment
from benchmarks.process import ROOT, Process
from benchmarks.running import Running, answers
from local.stack import free_ports
from sensorium.v1.common_pb2 import Media
from sensorium.v1.text_pb2 import EmbedRequest
from sensorium.v1.vision_pb2 import ClassifyImageRequest

WIDTH = 768


@asynccontextmanager
async def embedding(address: str) -> AsyncGenerator[Call]:
    """Yields a function that calls Embed with one text."""
    async with sensorium.AsyncClient(address, retry=None, timeout=120) as client:

        async def call(number: int) -> None:
            answer = await client.text.embed(EmbedRequest(texts=[text("load", number)]))
            assert len(answer.embeddings[0].values) == WIDTH

        yield call


@asynccontextmanager
async def classifying(address: str) -> AsyncGenerator[Call]:
    """Yields a function that calls ClassifyImage with one picture."""
    files = pictures()
    async with sensorium.AsyncClient(address, retry=None, timeout=120) as client:

        async def call(number: int) -> None:
            image = Media(data=files[number % len(files)])
            answer = await client.vision.classify_image(ClassifyImageRequest(images=[image], top_k=5))
            assert len(answer.results[0].labels) == 5

        yield call


def infinity(running: Running, model: Path) -> str:
    """Starts infinity's server with our largest batch size, and returns its URL."""
    (port,) = free_ports(1)
    program = environment(INFINITY, running.cache) / "infinity_emb"
    arguments = ["v2", "--model-id", str(model), "--engine", "torch", "--device", "cpu", "--dtype", "bfloat16"]
    more = ["--no-bettertransformer", "--batch-size", "64", "--log-level", "error", "--served-model-name", "m"]
    quiet = {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    command = [str(program), *arguments, *more, "--host", "127.0.0.1", "--port", str(port)]
    process = running.start("infinity", command, quiet)
    process.wait(lambda: answers(f"http://127.0.0.1:{port}/health"))
    return f"http://127.0.0.1:{port}/embeddings"


@asynccontextmanager
async def posting(url: str) -> AsyncGenerator[Call]:
    """Yields a function that posts one text."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(number: int) -> None:
            body = {"model": "m", "input": [text("load", number)]}
            async with session.post(url, json=body) as response:
                answer = await response.json()
            assert len(answer["data"][0]["embedding"]) == WIDTH

        yield call


def onnx_runtime(running: Running, model: Path, seconds: float) -> float:
    """Measures items per second of ONNX Runtime in process."""
    python = environment(ONNX_RUNTIME, running.cache) / "python"
    command = [str(python), str(ROOT / "benchmarks/encoders/onnx_batches.py"), "--model", str(model)]
    return _rate(running.start("onnxruntime", [*command, "--seconds", str(seconds)], answers=True))


def plain(running: Running, kind: str, model: Path, seconds: float) -> float:
    """Measures items per second of transformers in process, in bfloat16."""
    arguments = (kind, "--model", str(model), "--seconds", str(seconds))
    return _rate(running.run("benchmarks.encoders.batches", *arguments, answers=True))


def _rate(process: Process) -> float:
    return float(process.output()[-1])
