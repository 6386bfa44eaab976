"""The process group of a model's ranks, and the messages between them."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

_JOIN_SECONDS = 600.0
"""Timeout for all ranks to start, each of which imports from the same disk."""
_FOR_EVER = timedelta(days=365)
"""Timeout for the next step, since there may be no request for days."""
_AT_ONCE = 2048
"""Numbers of the first message of a step. Longer steps take a second message."""


@dataclass(frozen=True)
class Rank:
    """The number of this process among those that run one model, and where they meet."""

    number: int = 0
    size: int = 1
    meeting: str = "env://"
    """A URL for torch.distributed's rendezvous: a file that only this user can read, or the environment set by
    `torchrun`.
    """

    @property
    def leads(self) -> bool:
        """Whether this is the first rank, which serves requests and tells the others what to run."""
        return self.number == 0


class RankGroup:
    """The membership of this process in the group. Exchanges within a forward use torch's default group.

    Nothing leaves this machine: sockets are bound to the loopback device.
    """

    def __init__(
        self, rank: Rank, device: torch.device, step_seconds: float, check: Callable[[], None] = lambda: None
    ) -> None:
        """Returns when all ranks have joined. Each computes on `device`; `step_seconds` is the timeout of an exchange
        in a step.

        `check` is called repeatedly during the wait; it raises to end a wait that cannot succeed.

        Raises:
            TimeoutError: not all ranks joined in time.
        """
        self.rank = rank
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = loopback
        if device.type == "cuda":
            torch.cuda.set_device(device)
        patience = timedelta(seconds=_JOIN_SECONDS)
        store, _, _ = next(rendezvous(rank.meeting, rank.number, rank.size, timeout=patience))
        _meet(store, rank.size, check)
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=rank.number,
            world_size=rank.size,
            timeout=timedelta(seconds=step_seconds),
        )
        # A group on the CPU for messages, so that they do not wait for what the device still computes.
        self._messages: Any = dist.new_group(backend="gloo", timeout=_FOR_EVER)

    def tell(self, numbers: list[int]) -> None:
        """Sends numbers from the first rank to the others, which receive them by `hear`."""
        whole = np.array([len(numbers), *numbers], dtype=np.int64)
        first = np.zeros(_AT_ONCE, dtype=np.int64)
        first[: len(whole)] = whole[:_AT_ONCE]
        dist.broadcast(torch.from_numpy(first), 0, group=self._messages)
        if len(whole) > _AT_ONCE:
            dist.broadcast(torch.from_numpy(whole[_AT_ONCE:]), 0, group=self._messages)

    def hear(self) -> list[int]:
        """Waits, without a timeout, for the numbers that the first rank sends by `tell`."""
        first = torch.empty(_AT_ONCE, dtype=torch.int64)
        dist.broadcast(first, 0, group=self._messages)
        count, *numbers = first.tolist()
        if (missing := count - len(numbers)) > 0:
            rest = torch.empty(missing, dtype=torch.int64)
            dist.broadcast(rest, 0, group=self._messages)
            return numbers + rest.tolist()
        return numbers[:count]

    def each(self, number: int) -> list[int]:
        """Returns the numbers that all ranks pass, by rank. Waits for the slowest without a timeout."""
        found = [torch.zeros(1, dtype=torch.int64) for _ in range(self.rank.size)]
        dist.all_gather(found, torch.tensor([number]), group=self._messages)
        return [int(one) for one in found]

    def agreed(self, holds: bool) -> bool:
        """Returns whether `holds` is true on every rank. Waits as `each` does."""
        return all(self.each(int(holds)))

    @staticmethod
    def add_up(numbers: Tensor) -> Tensor:
        """All-reduce: replaces the tensor by the sum over all ranks, in place, and returns it. Part of a forward."""
        dist.all_reduce(numbers)
        return numbers

    @staticmethod
    def share(numbers: Tensor) -> None:
        """Broadcast: replaces the tensor by that of the first rank, in place. Part of a step."""
        dist.broadcast(numbers, 0)

    def close(self) -> None:
        """Leaves the group."""
        dist.destroy_process_group()


def _meet(store: Any, size: int, check: Callable[[], None]) -> None:
    """Returns when `size` processes have called it. The group's own timeout, that of a step, would be too short for
    this.
    """
    end = time.monotonic() + _JOIN_SECONDS
    store.add("met", 1)
    while store.add("met", 0) < size:
        check()
        if time.monotonic() > end:
            raise TimeoutError(f"Not all of {size} ranks have joined within {_JOIN_SECONDS:g} s.")
        time.sleep(0.02)
