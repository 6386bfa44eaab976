"""Of GPUs that are made up; `tests/gpu` asks for a real one."""

import logging

import pytest

from services.engine.checkpoint import ModelRefused
from services.engine.device.name import Gpus, resolve_device

TWO, ONE, NONE, NO_CUDA = Gpus(2, True, True), Gpus(1, True, True), Gpus(0, True, False), Gpus(0, False, False)
SLICE = "MIG-1f0c3bd6-3e28-5f4c-a0a4-5d8d4a1e3e4b"


def visible(told: str | None) -> dict[str, str]:
    return {} if told is None else {"CUDA_VISIBLE_DEVICES": told}


@pytest.mark.parametrize(
    ("name", "gpus", "told", "device"),
    [
        ("cpu", TWO, None, "cpu"),
        ("auto", TWO, None, "cuda:0"),
        ("auto", NONE, None, "cpu"),
        ("auto", NO_CUDA, "", "cpu"),
        ("auto", ONE, SLICE, "cuda:0"),
        ("cuda", ONE, SLICE, "cuda:0"),
        ("cuda:1", TWO, "6,3", "cuda:1"),
        ("cuda:0", ONE, "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "cuda:0"),
    ],
)
def test_a_name_counts_what_is_visible(name: str, gpus: Gpus, told: str | None, device: str) -> None:
    assert str(resolve_device(name, gpus, visible(told))) == device


@pytest.mark.parametrize(
    ("name", "gpus", "told", "said"),
    [
        ("cuda:2", TWO, None, "cuda:0 to cuda:1 are all that is visible;"),
        ("cuda:3", ONE, "3", "cuda:0 is all that is visible of CUDA_VISIBLE_DEVICES=3"),
        ("cuda:1", ONE, f"{SLICE},{SLICE[:-1]}c", "sees one slice of a GPU"),
        ("cuda", NONE, "", "hides all GPUs"),
        ("cuda:0", NONE, "-1", "hides all GPUs"),
        ("cuda", NONE, "7", "nothing of CUDA_VISIBLE_DEVICES=7"),
        ("cuda", NONE, None, "Is a driver installed"),
        ("cuda", NO_CUDA, None, "installed without support"),
    ],
)
def test_what_is_not_there_is_refused_with_the_reason(name: str, gpus: Gpus, told: str | None, said: str) -> None:
    with pytest.raises(ModelRefused) as refused:
        resolve_device(name, gpus, visible(told))
    assert str(refused.value).startswith(f"--device {name}: ")
    assert said in str(refused.value)


@pytest.mark.parametrize(("told", "warned"), [("2", True), ("", False), (None, False), ("-1", False)])
def test_who_names_gpus_and_gets_the_cpu_is_warned(
    told: str | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        resolve_device("auto", NONE, visible(told))
    assert ("the CPU is taken" in caplog.text) == warned
