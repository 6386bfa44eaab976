import os

# Set before anything imports transformers, so that no test contacts the Hugging Face hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import atexit
import gc
import importlib
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interpreter import quicken

# Started in the background of a shell, Python ignores Ctrl-C, and so would all commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Set before anything imports triton: without a GPU, Triton's interpreter runs the kernels.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported to collect the tests lives as long as the process: no search for garbage walks through it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # what is frozen when Python ends is never freed, and libraries complain of it
        gc.enable()


def pytest_runtest_setup() -> None:
    quicken()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Disables the cyclic garbage collector: only reference counting frees objects, so reference cycles stay alive."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def resizing_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets OneFormer's own post-processing run: replaces the torchvision resize it calls by torch's `interpolate`."""
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
    """One more than cores: some tests wait for sockets and timers, and each worker takes long to collect them all."""
    return 1 + (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Forks the workers where they share the whole suite, unless they may use CUDA, which does not outlive a fork."""
    if config.args_source is config.ArgsSource.TESTPATHS and not Path("/dev/nvidiactl").exists():
        from tests.workers import fork_workers

        fork_workers()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Names a bytes parameter by its length: content may hold a time stamp, and xdist workers must agree on names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None
