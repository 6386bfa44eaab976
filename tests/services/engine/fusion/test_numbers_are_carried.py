"""The transfer kernel leaves the same numbers on the device as a copy does."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from services.engine.generation.recorded.transfer import Transfer, carries, copied
from tests.services.dice import dice
from tests.services.engine.kernel_devices import DEVICES

pytest.importorskip("triton")
from services.engine.device.capture import Captures
from services.engine.fusion.triton.transfer import carried, carry


def transfer(device: str, *what: Any) -> Callable[[], object]:
    """Returns the transfer by kernel, recorded if the device can record."""
    way = partial(carried, Captures(torch.device(device))) if device == "cuda" else partial(partial, carry)
    return way(*what)


def host(count: int, device: str) -> Tensor:
    return torch.zeros(count, dtype=torch.int64, pin_memory=device == "cuda")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("count", "changes"), [(1, 0), (7, 3), (1024, 1), (1025, 256), (5000, 2)])
def test_what_is_carried_to_a_device_is_what_a_copy_leaves(device: str, count: int, changes: int) -> None:
    source, table = dice(), 300
    count += 2 * changes
    given, expected = host(count + table, device), torch.zeros(count + table, dtype=torch.int64)
    found = torch.zeros_like(expected, device=device)
    run, plain = transfer(device, given, found, count, changes), copied(given, expected, count, changes)
    for _ in range(3):  # the target's old numbers do not matter
        given.copy_(torch.tensor([source.randrange(-(1 << 62), 1 << 62) for _ in range(count + table)]))
        places = source.sample(range(table), changes)
        given[count - 2 * changes : count - changes] = torch.tensor([source.choice((place, -1)) for place in places])
        run()
        plain()
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_carried_from_a_device_is_there_when_it_has_arrived(device: str) -> None:
    tokens, told = torch.zeros(70, dtype=torch.int64, device=device), host(64, device)
    run = transfer(device, tokens, told, 64)
    for seed in range(3):
        drawn = torch.randint(1 << 40, (70,), generator=torch.Generator().manual_seed(seed))
        tokens.copy_(drawn)
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        assert told.tolist() == drawn[:64].tolist()


@pytest.mark.parametrize("device", DEVICES)
def test_a_trial_shows_that_the_kernel_carries(device: str) -> None:
    assert carries(partial(transfer, device), torch.device(device))


def reads_once(source: Tensor, target: Tensor, count: int, changes: int = 0) -> Callable[[], object]:
    """A wrong transfer: reads the source only when it is prepared, not at each call."""
    return copied(source.clone(), target, count, changes)


def forgets(source: Tensor, target: Tensor, count: int, changes: int = 0) -> Callable[[], object]:
    """Is a transfer that makes no changes."""
    return copied(source, target, count)


def refuses(*what: object) -> Callable[[], object]:
    raise ValueError("Pointer argument (at 0) cannot be accessed from Triton")


@pytest.mark.parametrize("broken", [reads_once, forgets, refuses])
def test_a_trial_tells_of_what_does_not(broken: Transfer, caplog: pytest.LogCaptureFixture) -> None:
    assert not carries(broken, torch.device("cpu"))
    assert "copied to the GPU" in caplog.text
