from pathlib import Path

import pytest

from tests.drawn import drawn
from tests.own_multimodal import Said
from tests.services.engine.multimodal.rig import Rig
from tests.tiny import token_models as tiny
from tests.tiny.multimodal_models import picture


@pytest.mark.parametrize("name", drawn(["chameleon", "emu3"], 1))
async def test_greedy_tokens_equal_generate(tmp_path: Path, name: str) -> None:
    rig = Rig.start(tiny.write_checkpoint(tmp_path, name), name, tiny.processor(name))
    first, second = picture(0, 90, 70), picture(1, 69, 97)
    turns: list[tuple[Said, ...]] = [(first, "What?"), ("Then ", second, "it is"), ("Only words.",)]
    turns.append(("Then ", second, first, " or ", second))
    await rig.must_generate_its_own(turns)
