"""Computes figures from samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.text.sample import RequestSample

COUNT_TOLERANCE = 0.02


class MeasuredWrong(Exception):
    """Raised when the samples are not a valid measurement."""


@dataclass(frozen=True)
class Numbers:
    """Figures of one system under one load in one repeat. Times in milliseconds."""

    tokens_per_second: float
    first_token_p50: float
    inter_token_p50: float
    inter_token_p99: float
    requests: int
    prompt_tokens: float
    """Mean per request, as counted by the system itself."""
    output_tokens: float


@dataclass(frozen=True)
class Spread:
    """A figure over the repeats: median, lowest and highest."""

    median: float
    lowest: float
    highest: float


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value below which `share` (0 to 1) of `values` lie, interpolated between neighbours.

    Raises:
        ValueError: There are no values, or the share is out of range.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values and a share in [0, 1]")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def numbers(samples: Sequence[RequestSample], begin: float, end: float) -> Numbers:
    """Returns the figures of the time from `begin` to `end`, in which the load was constant.

    Raises:
        MeasuredWrong: A request failed, or no token arrived in that time.
    """
    if failed := [sample.error for sample in samples if sample.error]:
        raise MeasuredWrong(f"{len(failed)} of {len(samples)} requests failed, the first by: {failed[0]}")
    within = [sample for sample in samples if sample.arrivals and begin <= sample.arrivals[0] <= end]
    tokens = sum(begin <= arrival <= end for sample in samples for arrival in sample.arrivals)
    gaps = [gap for sample in samples for at, gap in sample.gaps() if begin <= at <= end]
    if not gaps or end <= begin:
        raise MeasuredWrong("too few tokens arrived to measure anything")
    whole = [sample for sample in samples if sample.output_tokens]
    return Numbers(
        tokens_per_second=tokens / (end - begin),
        first_token_p50=1000 * percentile([sample.first_token_seconds for sample in within], 0.5),
        inter_token_p50=1000 * percentile(gaps, 0.5),
        inter_token_p99=1000 * percentile(gaps, 0.99),
        requests=len(whole),
        prompt_tokens=sum(sample.prompt_tokens for sample in whole) / max(len(whole), 1),
        output_tokens=sum(sample.output_tokens for sample in whole) / max(len(whole), 1),
    )


def check_counts(measured: Numbers, prompt_tokens: int, output_tokens: int) -> None:
    """Raises MeasuredWrong if the system's token counts differ by more than 2 % from those requested."""
    for what, found, meant in (
        ("prompt", measured.prompt_tokens, prompt_tokens),
        ("output", measured.output_tokens, output_tokens),
    ):
        if abs(found - meant) > COUNT_TOLERANCE * meant:
            raise MeasuredWrong(f"{found:.1f} {what} tokens a request where {meant} were meant")


def spread(values: Sequence[float]) -> Spread:
    """Returns median, lowest and highest of the repeats. Raises ValueError if there are none."""
    if not values:
        raise ValueError("no repeats")
    return Spread(median(values), min(values), max(values))


def ratio(ours: Sequence[float], peers: Sequence[float]) -> Spread:
    """Returns ours ÷ peer for each repeat, whose two runs are only minutes apart.

    Raises:
        ValueError: In no repeat were both measured.
    """
    return spread([own / other for own, other in zip(ours, peers, strict=False)])
