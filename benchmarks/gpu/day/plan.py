"""What is run on a day with a GPU, the most important first."""

import importlib.util
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

MINUTES = 12.0
_BEFORE_LIMIT = 15.0
"""A benchmark begins nothing new in the last seconds before its limit."""
_WORK = ("--work", "1x1024", "--work", "32x1024", "--work", "128x1024")
_FEW = ("--work", "1x1024", "--work", "32x1024", "--no-peers", "--kernels")
_WISHES = (("--wishes", wish) for wish in ("penalties", "structure", "logprobs"))
_ASKED = ("--drawn", *chain(*_WISHES), "--wishing", "one", "--wishing", "all")


@dataclass(frozen=True)
class Part:
    """A process to run. `{json}`, `{outcomes}` and `{seconds}` are replaced by its files and by its time."""

    name: str
    arguments: tuple[str, ...]
    """Arguments of python."""
    seconds: float
    """Its share of a day of MINUTES."""

    def filled(self, limit: float, json: Path, outcomes: Path) -> list[str]:
        """Returns the arguments for a run that has to end within `limit` seconds."""
        known = {"{json}": json, "{outcomes}": outcomes, "{seconds}": max(round(limit - _BEFORE_LIMIT), 1)}
        return [str(known.get(each, each)) for each in self.arguments]


def plan(workers: int) -> list[Part]:
    """Returns all parts. Tests run in `workers` processes, if xdist is installed."""
    kernels = ("tests/services/engine/fusion", "tests/services/engine/generation/attention")
    return [
        _tests("tests", "gpu and not alone", ("tests/gpu",), workers, 140),
        _tests("tests of memory", "gpu and alone", ("tests/gpu",), 0, 40),
        _tests("tests of kernels", "gpu", kernels, workers, 60),
        _engine("1B", 170, *_WORK, "--generate-steps", "0", "--kernels", *_ASKED),
        _served("1B", 80),
        _served("8B", 90),
        _engine("8B", 110, *_WORK, "--generate-steps", "0", "--kernels"),
        _engine("8B", 50, *_FEW, "--quantization", "int8"),
        _engine("8x1B", 50, *_FEW),
        _engine("128x110M", 50, *_FEW),
        _module("products of 8 bits", "benchmarks.gpu.products", 30, "--shape", "8B", "--quantization", "int8"),
        _module("products", "benchmarks.gpu.products", 30, "--shape", "1B", "--quantization", "none"),
        _module("experts", "benchmarks.gpu.experts", 40),
        _module("adapters", "benchmarks.gpu.adapters", 60),
        _module("ways", "benchmarks.gpu.ways", 60, "--shape", "1B"),
        _module("proposals", "benchmarks.speculation", 60, "--device", "cuda:0", "--shape", "1B", "--rounds", "3"),
    ]  # fmt: skip


def _tests(name: str, marks: str, paths: tuple[str, ...], workers: int, seconds: float) -> Part:
    spread = ("-n", str(workers)) if workers > 1 and importlib.util.find_spec("xdist") else ()
    told = ("-p", "benchmarks.gpu.day.outcomes", "--outcomes", "{outcomes}", "--outcomes-of", name)
    # pytest-benchmark, if installed, would warn about xdist.
    return Part(name, ("-m", "pytest", "-q", "-m", marks, *paths, *spread, "-p", "no:benchmark", *told), seconds)


def _engine(shape: str, seconds: float, *options: str) -> Part:
    name = f"{shape}, int8" if "int8" in options else shape
    ends = ("--seconds", "{seconds}", "--json", "{json}")
    return _module(name, "benchmarks.gpu", seconds, "--shape", shape, *options, *ends)


def _served(shape: str, seconds: float) -> Part:
    options = ("--shape", shape, "--rounds", "2", "--json", "{json}")
    return _module(f"{shape}, served", "benchmarks.gpu.served", seconds, *options)


def _module(name: str, module: str, seconds: float, *options: str) -> Part:
    return Part(name, ("-m", module, *options), seconds)
