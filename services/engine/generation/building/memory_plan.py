"""The plan of a device's memory: weights, steps, recorded steps, media, and the rest for the cache."""

from dataclasses import dataclass

from services.engine.checkpoint import ModelRefused
from services.engine.device.memory import DeviceMemory, MemoryReading

HOST_SHARE = 0.25
"""The cache's share of the host's free memory: the rest is for steps, for files being read, and for others."""
UNMEASURED_SHARE = 0.5
"""The cache's share of a GPU's free memory, where the largest step was not measured."""


@dataclass(frozen=True)
class StepCosts:
    """Bytes that steps take beside weights and cache."""

    steps: int = 0
    """Peak of the largest step; 0 where that was not measured."""
    graphs: int = 0
    """Recorded decode steps."""
    media: int = 0
    """Cached features of images and recordings in prompts."""

    @property
    def all(self) -> int:
        """All of them."""
        return self.steps + self.graphs + self.media


@dataclass(frozen=True)
class MemoryPlan:
    """The memory of one device, in bytes."""

    reading: MemoryReading
    """With the weights in place, and no cache."""
    costs: StepCosts
    cache: int
    cache_tokens: int

    @property
    def parts(self) -> dict[str, int]:
        """The size of each part by name, in the order of the log; `reserve` stays free."""
        reading, costs = self.reading, self.costs
        return {
            "total": reading.total,
            "others": reading.others,
            "weights": reading.held,
            "steps": costs.steps,
            "graphs": costs.graphs,
            "media": costs.media,
            "cache": self.cache,
            "reserve": max(reading.free - costs.all - self.cache, 0),
        }

    def table(self) -> str:
        """Returns the parts as a table."""
        lines = [f"  {name:<8}{size / 2**20:>10,.0f} MiB" for name, size in self.parts.items()]
        return "\n".join([*lines, f"  The cache holds {self.cache_tokens:,} tokens."])


def cache_room(reading: MemoryReading, costs: StepCosts, share: float) -> int:
    """Returns how many bytes a cache may take if the process takes `share` of what others leave; may be negative.

    Several services may share a GPU: each takes its share of the memory that it finds free.
    """
    return int(share * (reading.free + reading.held)) - reading.held - costs.all


def default_bytes(memory: DeviceMemory, share: float) -> int:
    """Returns the default size of a cache, where no step was measured."""
    reading = memory.read()
    if not memory.measures:
        return int(reading.free * HOST_SHARE)
    return int(cache_room(reading, StepCosts(), share) * UNMEASURED_SHARE)


def require_room(wanted: int, reading: MemoryReading, costs: StepCosts) -> None:
    """Checks that a cache fits.

    Raises:
        ModelRefused: it does not. The message says what would.
    """
    room = reading.free - costs.all
    if wanted > room:
        raise ModelRefused(
            f"A cache of {_mib(wanted)} does not fit: {_taken(reading, costs)}, which leaves {_mib(max(room, 0))}. "
            "Lower --cache-mib, --max-sequences or --prefill-tokens, or use --quantization."
        )


def require_page(page_bytes: int, room: int, reading: MemoryReading, costs: StepCosts, share: float) -> None:
    """Checks that the room for the cache holds one page at least.

    Raises:
        ModelRefused: it does not. The message says what to lower.
    """
    if room < page_bytes:
        raise ModelRefused(
            f"No memory is left for keys and values: {_taken(reading, costs)}, and of all that others leave this "
            f"process takes {share:.0%}. Lower --prefill-tokens or --max-sequences, raise --gpu-memory-utilization, "
            "or use --quantization or a larger GPU."
        )


def _taken(reading: MemoryReading, costs: StepCosts) -> str:
    return (
        f"of {_mib(reading.total)} others hold {_mib(reading.others)}, the weights {_mib(reading.held)}, the largest "
        f"step takes {_mib(costs.steps)}, recorded steps {_mib(costs.graphs)} and media {_mib(costs.media)}"
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
