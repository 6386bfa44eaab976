"""What a metrics port told at one moment, and what changed between two."""

import math
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
_MOST_BYTES = 64 * 1024 * 1024


class ScrapeFailed(Exception):
    """The metrics port did not answer, or not with metrics. The message is one sentence."""


@dataclass(frozen=True)
class Scrape:
    """All series by name and labels. `taken` is in seconds, of a monotonic clock."""

    taken: float
    series: Mapping[str, Mapping[Labels, float]]

    def values(self, name: str, by: str, **where: str) -> dict[str, float]:
        """Returns the sum of a gauge for each value of the label `by`, of the series that have the labels `where`."""
        return _summed(self.series.get(name, {}), by, where)

    def value(self, name: str, **where: str) -> float:
        """Returns the sum of a gauge, of the series that have the labels `where`."""
        return sum(_chosen(self.series.get(name, {}), where).values())


def parse(text: str, taken: float) -> Scrape:
    """Reads Prometheus' text format.

    Raises:
        ValueError: it is something else.
    """
    series: dict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series[sample.name][frozenset(sample.labels.items())] = sample.value
    return Scrape(taken, series)


def fetch(url: str, timeout: float) -> Scrape:
    """Asks a metrics port.

    Raises:
        ScrapeFailed: it did not answer in time, or not with metrics.
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - the caller's own, and http(s) only
            text = answer.read(_MOST_BYTES).decode()
        found = parse(text, time.monotonic())
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        reason = getattr(reason, "strerror", None) or reason
        raise ScrapeFailed(f"{url} does not answer: {reason}.") from None
    except ValueError:
        raise ScrapeFailed(f"{url} does not answer with metrics.") from None
    if not any(name.startswith("sensorium_gateway_") for name in found.series):
        raise ScrapeFailed(f"{url} answers with metrics that are not a gateway's.")
    return found


@dataclass(frozen=True)
class Change:
    """From one scrape to a later one of the same process; of a new process, all that it has counted is new."""

    before: Scrape
    after: Scrape

    @property
    def seconds(self) -> float:
        """What passed between them; 0 where there is but one."""
        return self.after.taken - self.before.taken

    def rates(self, counter: str, by: str, **where: str) -> dict[str, float]:
        """Returns how much of a counter came per second, for each value of the label `by`; nothing for no time."""
        if self.seconds <= 0:
            return {}
        return {value: grown / self.seconds for value, grown in _summed(self._grown(counter), by, where).items()}

    def rate(self, counter: str, **where: str) -> float | None:
        """Returns how much of a counter came per second; None for no time."""
        return sum(_chosen(self._grown(counter), where).values()) / self.seconds if self.seconds > 0 else None

    def quantile(self, share: float, histogram: str, **where: str) -> float | None:
        """Returns what `share` of the new observations stay under, as Prometheus reckons it; None where none is new."""
        buckets = sorted(
            (float(edge), count) for edge, count in _summed(self._grown(f"{histogram}_bucket"), "le", where).items()
        )
        if not buckets or buckets[-1][1] <= 0:
            return None
        rank = share * buckets[-1][1]
        lower = below = 0.0
        for edge, count in buckets:
            if count >= rank and count > below:
                return lower if math.isinf(edge) else lower + (edge - lower) * (rank - below) / (count - below)
            lower, below = edge, count
        return lower

    def _grown(self, name: str) -> dict[Labels, float]:
        before = self.before.series.get(name, {})
        return dict(_growth(self.after.series.get(name, {}), before))


def _growth(after: Mapping[Labels, float], before: Mapping[Labels, float]) -> Iterator[tuple[Labels, float]]:
    for labels, value in after.items():
        earlier = before.get(labels, 0.0)
        # A counter that is smaller than it was began anew.
        yield labels, value - earlier if value >= earlier else value


def _chosen(series: Mapping[Labels, float], where: Mapping[str, str]) -> dict[Labels, float]:
    wanted = where.items()
    return {labels: value for labels, value in series.items() if wanted <= labels}


def _summed(series: Mapping[Labels, float], by: str, where: Mapping[str, str]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for labels, value in _chosen(series, where).items():
        sums[dict(labels).get(by, "")] += value
    return dict(sums)
