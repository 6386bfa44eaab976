import os

# Before anything imports transformers: no test reaches for a hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interpreter import quicken

# Before anything imports triton: without a GPU its kernels are interpreted.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_runtest_setup() -> None:
    quicken()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Lets nothing go but what nobody holds: circles stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def resizing_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets OneFormer's own post-processing run: it asks torchvision for what torch itself does."""
    from torch.nn.functional import interpolate

    class Functional:
        class InterpolationMode:
            BILINEAR = "bilinear"

        @staticmethod
        def resize(values: Any, size: tuple[int, int], interpolation: str) -> Any:
            return interpolate(values, size, mode=interpolation, align_corners=False)

    module = importlib.import_module("transformers.models.oneformer.image_processing_pil_oneformer")
    monkeypatch.setattr(module, "tvF", Functional, raising=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two processes a core: tests wait for sockets, timers and other processes half of the time."""
    return 2 * (os.cpu_count() or 1)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Names bytes by how many they are: some hold the time they were made, and all processes name tests alike."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None
