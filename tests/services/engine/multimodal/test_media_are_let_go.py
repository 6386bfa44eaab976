"""Nothing of a medium is kept by what encodes it once nobody waits for that, however it ended."""

import gc
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
import torch

from services.engine.generation.running.media import Medium
from services.engine.multimodal.media_cache import MediaCache
from services.engine.multimodal.media_queue import MediaQueue


class Encoder:
    device = torch.device("cpu")
    fails = False

    def on_module(self, call: Callable[[], None]) -> None:
        self.pause = call

    def encode(self, media: Sequence[Medium]) -> list[torch.Tensor]:
        if self.fails:
            raise ValueError("bad media")
        time.sleep(0.01)
        self.pause()
        return [torch.zeros(1, 4) for _ in media]


def waiting(order: int) -> Any:
    medium = Medium(bytes([order]), "", 1, {"input_features": torch.zeros(1, 8)})
    media = SimpleNamespace(media=[medium], pending=[medium])
    request = SimpleNamespace(media=media, work=SimpleNamespace(add=lambda *_: None))
    return SimpleNamespace(order=order, ended=False, request=request)


@pytest.mark.parametrize("fails", [False, True])
def test_of_those_who_left_or_failed_nothing_is_kept(fails: bool) -> None:
    encoder = Encoder()
    encoder.fails = fails
    queue, groups = MediaQueue(encoder, MediaCache(0)), [waiting(i) for i in range(2)]
    media = [ref(group.request.media.media[0]) for group in groups]
    for group in groups:
        queue.add(group)
    if fails:
        failed = 0
        while failed < len(groups):
            queue.step(1)
            failed += sum(error is not None for _, error in queue.take())
    else:
        queue.step(0)
        for group in groups:
            group.ended = True
        queue.take()
    del groups, group
    queue.step(1)
    gc.collect()
    assert [each() for each in media] == [None, None]
