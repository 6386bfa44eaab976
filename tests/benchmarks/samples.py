"""Made-up samples."""

from benchmarks.text.result import Cell, Measurement, Result
from benchmarks.text.sample import RequestSample
from benchmarks.text.statistics import Numbers

CELL = Cell("wide", "64/64", 4)


def sample(sent: float, *arrivals: float, prompt_tokens: int = 8) -> RequestSample:
    return RequestSample(sent, list(arrivals), prompt_tokens, len(arrivals))


def measured(system: str, repeat: int, tokens_per_second: float) -> Measurement:
    numbers = Numbers(tokens_per_second, 10.0, 2.0, 5.0, requests=8, prompt_tokens=64.0, output_tokens=64.0)
    return Measurement(system, CELL, repeat, numbers, foreign_cores=0.0)


def result(*measurements: Measurement) -> Result:
    return Result(measurements=list(measurements))
