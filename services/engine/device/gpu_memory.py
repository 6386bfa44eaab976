"""Metrics of the GPU's memory, as torch's allocator counts it."""

import torch
from prometheus_client import Gauge


def watch(gauge: Gauge, device: str) -> None:
    """Makes every scrape read how many bytes of `device` are in use; on a CPU all stay 0.

    Only torch's own counters are read: a call of the driver from another thread could break the recording of a graph.
    """
    place = torch.device(device)
    if place.type != "cuda":
        return
    gauge.labels("allocated").set_function(lambda: torch.cuda.memory_allocated(place))
    gauge.labels("peak").set_function(lambda: torch.cuda.max_memory_allocated(place))
    gauge.labels("reserved").set_function(lambda: torch.cuda.memory_reserved(place))
    gauge.labels("total").set(torch.cuda.get_device_properties(place).total_memory)
