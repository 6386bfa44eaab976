"""The order of measurements: in each repeat, every system is started and measured by turns."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.encoders import systems
from benchmarks.encoders.checkpoints import class_token_model, image_model, text_model
from benchmarks.encoders.load import closed, open_loop
from benchmarks.environment import PeerMissing
from benchmarks.process import LOAD_CORE
from benchmarks.running import Running, Server
from benchmarks.text.caller import GrpcCaller
from benchmarks.text.checkpoint import SHAPES, checkpoint
from benchmarks.text.statistics import percentile
from benchmarks.text.workload import Workload

CALLERS = 32
IMAGE_CALLERS = 16
UTILIZATION = 0.7
_STREAM = Workload("beside", 64, 4000)

Values = dict[str, list[float]]


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    cache: Path
    repeats: int
    seconds: float
    texts: bool = True
    images: bool = True


@dataclass
class Measured:
    """Measured values by name, one for each repeat."""

    values: Values = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, value: float, say: Callable[[str], None]) -> None:
        """Adds a value."""
        self.values[name].append(value)
        say(f"  {name}: {value:.4g}")


async def measure(plan: Plan, measured: Measured, say: Callable[[str], None]) -> None:
    """Measures everything planned. Values measured before an interruption are kept."""
    for repeat in range(plan.repeats):
        say(f"repeat {repeat + 1}/{plan.repeats}")
        if plan.texts:
            await _texts(plan, measured, repeat, say)
            await _texts_by_class_token(plan, measured, say)
        if plan.images:
            await _images(plan, measured, say)


async def _texts(plan: Plan, measured: Measured, repeat: int, say: Callable[[str], None]) -> None:
    model = text_model(plan.cache)
    with Running(plan.cache) as running:
        server = running.serve("services.text", *_of(model), "--task", "embed")
        async with systems.embedding(server.address) as call:
            found = await closed(call, CALLERS, plan.seconds)
            measured.add("texts/s, sensorium", found.per_second, say)
            one = await closed(call, 1, plan.seconds / 2)
            measured.add("texts/s, sensorium, one caller", one.per_second, say)
            opened = await open_loop(call, UTILIZATION * found.per_second, 3 * plan.seconds, seed=repeat)
            for share in (0.5, 0.99):
                measured.add(f"open loop p{100 * share:.0f}, ms", 1000 * percentile(opened.seconds, share), say)
    with _if_it_is_to_be_had(say), Running(plan.cache) as running:
        url = systems.infinity(running, model)
        async with systems.posting(url) as call:
            measured.add("texts/s, infinity", (await closed(call, CALLERS, plan.seconds)).per_second, say)
            one = await closed(call, 1, plan.seconds / 2)
            measured.add("texts/s, infinity, one caller", one.per_second, say)
    with _if_it_is_to_be_had(say), Running(plan.cache) as running:
        measured.add("texts/s, onnxruntime fp32", systems.onnx_runtime(running, model, plan.seconds), say)
    with Running(plan.cache) as running:
        measured.add("texts/s, transformers", systems.plain(running, "text", model, plan.seconds), say)


async def _texts_by_class_token(plan: Plan, measured: Measured, say: Callable[[str], None]) -> None:
    """Measures the same weights with [CLS] pooling, where the last layer is needed for the first token only."""
    model = class_token_model(plan.cache)
    with Running(plan.cache) as running:
        server = running.serve("services.text", *_of(model))
        async with systems.embedding(server.address) as call:
            measured.add("texts/s by [CLS], sensorium", (await closed(call, CALLERS, plan.seconds)).per_second, say)
    with _if_it_is_to_be_had(say), Running(plan.cache) as running:
        async with systems.posting(systems.infinity(running, model)) as call:
            measured.add("texts/s by [CLS], infinity", (await closed(call, CALLERS, plan.seconds)).per_second, say)


async def _images(plan: Plan, measured: Measured, say: Callable[[str], None]) -> None:
    model = image_model(plan.cache)
    with Running(plan.cache) as running:
        server = running.serve("services.vision", *_of(model))
        async with systems.classifying(server.address) as call:
            found = await closed(call, IMAGE_CALLERS, 2 * plan.seconds)
            measured.add("images/s, sensorium", found.per_second, say)
        text = checkpoint(SHAPES["wide"], plan.cache)
        beside = running.serve("services.text", *_of(text), core=LOAD_CORE)
        measured.add("stream alone, tokens/s", await _streamed(beside, plan.seconds), say)
        async with systems.classifying(server.address) as call:
            load = asyncio.create_task(closed(call, IMAGE_CALLERS, 2 * plan.seconds + 4))
            await asyncio.sleep(2)
            measured.add("stream beside images, tokens/s", await _streamed(beside, plan.seconds), say)
            await load
    with Running(plan.cache) as running:
        measured.add("images/s, transformers", systems.plain(running, "images", model, plan.seconds), say)


@contextmanager
def _if_it_is_to_be_had(say: Callable[[str], None]) -> Generator[None]:
    """Skips a peer that cannot be installed."""
    try:
        yield
    except PeerMissing as error:
        say(f"  a peer is not measured: {error}")


async def _streamed(server: Server, seconds: float) -> float:
    """Measures the tokens per second of one stream, for this many seconds."""
    async with GrpcCaller(server.port) as caller:
        (sample,) = await caller.call([replace(_STREAM.prompt(0), new_tokens=max(int(seconds * 100), 50))])
        arrivals = sample.arrivals
        return (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])


def _of(model: Path) -> tuple[str, ...]:
    return "--model", str(model), "--device", "cpu"
