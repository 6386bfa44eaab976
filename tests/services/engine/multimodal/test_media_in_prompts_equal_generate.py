import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import PretrainedConfig

from tests.drawn import drawn
from tests.own_multimodal import shown
from tests.services.engine.multimodal.rig import Rig
from tests.tiny import multimodal_models as tiny

LLAVA = tiny.CONFIGS["llava"]
SAMPLED = {"temperature": 1.2, "top_p": 0.95, "repetition_penalty": 1.1, "max_new_tokens": 12}


@pytest.fixture(scope="module", params=drawn([*tiny.CONFIGS], 2))
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tiny.write_checkpoint(tmp_path_factory.mktemp(request.param), request.param)
    rig = Rig.start(folder, request.param, max_sequences=6, prefill_tokens=23)
    yield rig
    rig.built.engine.close()


SERIAL = {"qwen3_vl", "gemma3"}


async def test_a_prompt_of_the_check_leaves_no_rotary_frequencies_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config() -> PretrainedConfig:
        made = LLAVA()
        rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
        made.text_config.update({"rope_parameters": rope, "max_position_embeddings": 24})
        return made

    monkeypatch.setitem(tiny.CONFIGS, "llava", config)
    rig = Rig.start(tiny.write_checkpoint.__wrapped__(tmp_path, "llava"), "llava")
    assert rig.built.serial
    await rig.must_generate_its_own([(tiny.picture(1), "What is this?")])


def test_it_goes_through_pages_where_they_hold_all(rig: Rig) -> None:
    assert rig.built.serial == (rig.name in SERIAL)


async def test_greedy_tokens_alone_and_beside_others(rig: Rig) -> None:
    first, second, third, _ = shown(rig.name)
    turns = [
        (first, "What is this?"),
        ("Compare ", second, " with ", third, " please."),
        ("No media here.",),
        (second, first, third),
        ("Tänze 東京", second),
    ]
    expected = [rig.own.generate(*turn) for turn in turns]
    assert len(set(map(tuple, expected))) == len(turns)
    assert (await rig.run(*turns[0], max_new_tokens=12)).ids == expected[0]
    results = await asyncio.gather(*(rig.run(*turn, max_new_tokens=12) for turn in turns))
    assert [result.ids for result in results] == expected


async def test_seeds_do_not_depend_on_neighbours(rig: Rig) -> None:
    turns = [(medium, f"Number {i}") for i, medium in enumerate(shown(rig.name))] + [("only text",)]
    alone = [(await rig.run(*turn, seed=i, **SAMPLED)).ids for i, turn in enumerate(turns)]
    together = await asyncio.gather(*(rig.run(*turn, seed=i, **SAMPLED) for i, turn in enumerate(turns)))
    assert [result.ids for result in together] == alone


async def test_it_resumes_behind_what_was_delivered(rig: Rig) -> None:
    first, *_, last = shown(rig.name)
    said = (first, "Go on", last)
    whole = await rig.run(*said, seed=5, **SAMPLED)
    rest = await rig.run(*said, seed=5, delivered=tuple(whole.ids[:7]), **SAMPLED)
    assert rest.ids == whole.ids[7:]
