import asyncio
import gc
from pathlib import Path

import pytest
import torch

from services.engine.generation.running.media import Medium
from services.engine.multimodal.encoder import MediaEncoder
from services.engine.multimodal.media_cache import MediaCache
from tests.services.engine.multimodal.rig import Rig
from tests.tiny import multimodal_models as tiny

LONG = "A sentence that fills more than one page of the cache, whatever the tokenizer makes of it, as it is long."


@pytest.fixture
def encoded(llava: Rig, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many media were encoded together, each time."""
    found: list[int] = []
    own = MediaEncoder.encode

    def encode(self: MediaEncoder, media: list[Medium]) -> list[torch.Tensor]:
        found.append(len(media))
        return own(self, media)

    monkeypatch.setattr(MediaEncoder, "encode", encode)
    return found


async def test_the_beginning_is_shared_with_the_same_image_only(llava: Rig) -> None:
    turns = [(*[tiny.picture(seed)] * 3, "which?") for seed in (11, 12)]
    first = await llava.run(*turns[0], max_new_tokens=8)
    again = await llava.run(*turns[0], max_new_tokens=8)
    different = await llava.run(*turns[1], max_new_tokens=8)
    assert first.completed.cached_token_count == different.completed.cached_token_count == 0
    assert again.completed.cached_token_count >= 32
    assert first.ids == again.ids == llava.own.generate(*turns[0], count=8)
    assert different.ids == llava.own.generate(*turns[1], count=8) != first.ids


async def test_text_before_an_image_is_shared_whatever_the_image(llava: Rig) -> None:
    await llava.run(LONG, tiny.picture(21), max_new_tokens=1)
    behind = await llava.run(LONG, tiny.picture(22), max_new_tokens=8)
    assert behind.completed.cached_token_count >= 16
    assert behind.ids == llava.own.generate(LONG, tiny.picture(22), count=8)


async def test_an_image_is_encoded_once_however_often_it_is_sent(llava: Rig, encoded: list[int]) -> None:
    image = tiny.picture(31)
    results = await asyncio.gather(*(llava.run(image, f"{i}?", max_new_tokens=4) for i in range(4)))
    await llava.run("And again", image, image, max_new_tokens=4)
    assert sum(encoded) == 1
    assert [result.ids for result in results] == [llava.own.generate(image, f"{i}?", count=4) for i in range(4)]


async def test_images_of_several_requests_are_encoded_together(llava: Rig, encoded: list[int]) -> None:
    turns = [(tiny.picture(40 + i), "?") for i in range(5)]
    results = await llava.run_all(*turns, max_new_tokens=4)
    assert [result.ids for result in results] == [llava.own.generate(*turn, count=4) for turn in turns]
    assert sum(encoded) == 5
    assert len(encoded) < 5


async def test_a_preempted_prompt_is_computed_anew_with_its_images(llava_folder: Path) -> None:
    # Room for 17 pages: two of these prompts and a little more.
    rig = Rig.start(llava_folder, "llava", max_sequences=4, cache_bytes=17 * 16 * 384, share_prefixes=False)
    try:
        turns = [(tiny.picture(i), LONG) for i in range(3)]
        results = await rig.run_all(*turns, max_new_tokens=60)
        assert [result.ids for result in results] == [rig.own.generate(*turn, count=60) for turn in turns]
        assert rig.metric("preemptions_total") > 0
    finally:
        rig.built.engine.close()


def _medium(name: str, width: int = 10) -> Medium:
    made = Medium(name.encode(), "<image>", 1, {"pixel_values": torch.zeros(1, 3), "grid": torch.ones(1, 3).long()})
    made.take(torch.zeros(1, width))
    return made


def test_features_are_kept_within_the_bound_the_longest_unused_go() -> None:
    size = sum(tensor.untyped_storage().nbytes() for tensor in (torch.zeros(1, 10), torch.ones(1, 3).long()))
    cache = MediaCache(2 * size)
    for name in ("first", "second"):
        cache.keep(_medium(name))
    assert cache.find(b"first")
    cache.keep(_medium("third"))
    cache.keep(_medium("too large", width=10_000))
    gc.collect()
    assert [bool(cache.find(name)) for name in (b"first", b"second", b"third", b"too large")] == [
        True, False, True, False,
    ]  # fmt: skip
    assert cache.bytes == 2 * size


def test_what_is_in_use_is_found_whatever_the_bound() -> None:
    cache = MediaCache(0)
    live = cache.add(_medium("live"))
    assert cache.add(_medium("live")) is live
    cache.keep(live)
    assert cache.find(b"live") is live
    assert cache.bytes == 0
