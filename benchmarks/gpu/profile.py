"""What the GPU does in decode steps, kernel by kernel."""

from collections import defaultdict
from pathlib import Path

from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.runner import run_engine
from services.engine.generation.building.parts import Parts

_STEPS = 8
_SHOWN = 24


def write_profile(path: Path, parts: Parts, prompts: list[list[int]], chunk: int) -> None:
    """Writes the kernels of some decode steps: how often in a step, for how long, and for how long the GPU is idle."""
    with_kernels = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
    rates = run_engine(parts, prompts, _STEPS, chunk, lambda: with_kernels)
    spans = [
        (event.time_range.start, event.time_range.end, event.name)
        for event in with_kernels.events() or []
        if event.device_type == DeviceType.CUDA
    ]
    counts, times = defaultdict[str, int](int), defaultdict[str, float](float)
    busy, until = 0.0, 0.0
    for start, end, name in sorted(spans):
        counts[name] += 1
        times[name] += end - start
        busy += max(end - max(start, until), 0.0)
        until = max(until, end)
    lines = [
        f"{rates.step_seconds * 1e6:.0f} us a step with the profiler, of which the GPU works {busy / _STEPS:.0f} us",
        f"{len(spans) / _STEPS:.0f} kernels and copies a step",
    ]
    for name in sorted(times, key=lambda name: -times[name])[:_SHOWN]:
        each = times[name] / counts[name]
        lines.append(
            f"{times[name] / _STEPS:9.1f} us  {counts[name] / _STEPS:6.1f} times  {each:7.2f} us  {name[:110]}"
        )
    path.write_text("\n".join(lines) + "\n")
