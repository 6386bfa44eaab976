from pathlib import Path

import pytest

from tests.drawn import drawn
from tests.own_multimodal import Said, recording
from tests.services.engine.multimodal.rig import Rig
from tests.tiny import later_models as tiny
from tests.tiny.multimodal_models import picture


@pytest.mark.parametrize("name", drawn(tiny.NAMES, min(1, len(tiny.NAMES))))
async def test_greedy_tokens_equal_generate(tmp_path: Path, name: str) -> None:
    """Cosmos 3's processor makes types of tokens if asked; Inkling's fills up short recordings."""
    own = tiny.processor(name)
    own.return_mm_token_type_ids = name == "cosmos3_edge"
    rig = Rig.start(tiny.write_checkpoint(tmp_path, name), name, own)
    first, second = picture(0), picture(1, 69, 47)
    turns: list[tuple[Said, ...]] = [(first, "What?"), ("Then ", second, " or ", first), ("Only words.",)]
    if name == "inkling_mm_model":
        turns.append(("Who says ", recording(1), " and ", recording(2, 0.9), "?"))
    await rig.must_generate_its_own(turns)
    assert rig.loaded.media is not None
    assert not rig.loaded.media.manner.alone
