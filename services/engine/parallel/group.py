"""The ranks of one model, and what they say to each other."""

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
"""For all ranks to start: each imports what it needs from the same disk."""
_FOR_EVER = timedelta(days=365)
"""For the next step: nobody may ask anything for days."""
_AT_ONCE = 2048
"""Numbers sent in one piece; steps that are longer take a second one."""


@dataclass(frozen=True)
class Rank:
    """Which of the processes that run one model this is, and where they meet."""

    number: int = 0
    size: int = 1
    meeting: str = "env://"
    """A URL of torch.distributed's: a file only this user reads, or what `torchrun` put into the environment."""

    @property
    def leads(self) -> bool:
        """Whether it serves, and tells the others what to run."""
        return self.number == 0


class RankGroup:
    """Joins this process to the others; what is computed together goes through torch's default group.

    All of it stays on this machine: sockets are bound to its loopback device.
    """

    def __init__(
        self, rank: Rank, device: torch.device, step_seconds: float, check: Callable[[], None] = lambda: None
    ) -> None:
        """Returns when all ranks are there. Each computes on `device`; no exchange within a step may take longer.

        `check` is called while it waits, and raises where waiting is in vain.

        Raises:
            TimeoutError: the others did not come.
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
        # Beside the device's own: what is told does not wait for what the device still computes.
        self._told: Any = dist.new_group(backend="gloo", timeout=_FOR_EVER)

    def tell(self, numbers: list[int]) -> None:
        """Sends the first rank's numbers to the others, which `hear` them."""
        whole = np.array([len(numbers), *numbers], dtype=np.int64)
        first = np.zeros(_AT_ONCE, dtype=np.int64)
        first[: len(whole)] = whole[:_AT_ONCE]
        dist.broadcast(torch.from_numpy(first), 0, group=self._told)
        if len(whole) > _AT_ONCE:
            dist.broadcast(torch.from_numpy(whole[_AT_ONCE:]), 0, group=self._told)

    def hear(self) -> list[int]:
        """Waits for what the first rank tells, for as long as that takes."""
        first = torch.empty(_AT_ONCE, dtype=torch.int64)
        dist.broadcast(first, 0, group=self._told)
        count, *numbers = first.tolist()
        if (missing := count - len(numbers)) > 0:
            rest = torch.empty(missing, dtype=torch.int64)
            dist.broadcast(rest, 0, group=self._told)
            return numbers + rest.tolist()
        return numbers[:count]

    def each(self, number: int) -> list[int]:
        """Returns the number that every rank gives, by rank; waits for the slowest as long as that takes."""
        found = [torch.zeros(1, dtype=torch.int64) for _ in range(self.rank.size)]
        dist.all_gather(found, torch.tensor([number]), group=self._told)
        return [int(one) for one in found]

    def agreed(self, holds: bool) -> bool:
        """Returns whether it holds on every rank; waits as `each` does."""
        return all(self.each(int(holds)))

    @staticmethod
    def add_up(numbers: Tensor) -> Tensor:
        """Adds up what all ranks give, where that is, and returns it. A part of a forward."""
        dist.all_reduce(numbers)
        return numbers

    @staticmethod
    def share(numbers: Tensor) -> None:
        """Gives all ranks what the first one has there. A part of a step."""
        dist.broadcast(numbers, 0)

    def close(self) -> None:
        """Leaves the others."""
        dist.destroy_process_group()


def _meet(store: Any, size: int, check: Callable[[], None]) -> None:
    """Returns when as many processes as that have called it. The group's own patience is a step's."""
    end = time.monotonic() + _JOIN_SECONDS
    store.add("met", 1)
    while store.add("met", 0) < size:
        check()
        if time.monotonic() > end:
            raise TimeoutError(f"Not all of {size} ranks came within {_JOIN_SECONDS:g} s.")
        time.sleep(0.02)
