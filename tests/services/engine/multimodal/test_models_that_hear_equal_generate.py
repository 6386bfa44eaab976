import asyncio
import json
from pathlib import Path

import pytest
import torch
from transformers import GraniteSpeechForConditionalGeneration

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.loading import load_multimodal_model
from services.engine.multimodal.processor import MediumRefused
from services.multimodal.config import MultimodalSettings
from services.process import checkpoint_of
from tests.drawn import drawn
from tests.own_multimodal import Said, recording
from tests.services.engine.multimodal.rig import Rig
from tests.tiny import hearing_models as tiny
from tests.tiny.adapters import pair, write_adapter

SEVERAL = {"moss_transcribe_diarize", "vibevoice_asr"}
"""Whose processors prepare each recording of a prompt as if it were alone."""


@pytest.mark.parametrize("name", drawn([*tiny.CONFIGS], 3))
async def test_greedy_tokens_alone_and_beside_others(tmp_path: Path, name: str) -> None:
    rig = Rig.start(tiny.write_checkpoint(tmp_path, name), name, tiny.processor(name), max_sequences=6)
    # The last is longer than one window of models that hear by windows.
    short, middle, long = recording(1, 0.3), recording(2, 0.9), recording(3, 2.3)
    turns: list[tuple[Said, ...]] = [(short, "What?"), ("Say ", middle, " please."), (long, " it")]
    if name != "qwen3_asr":  # whose own processor takes no text by itself
        turns.append(("Only words.",))
    if name in SEVERAL:
        turns.append((short, "or", long))
    try:
        expected = [rig.own.generate(*turn) for turn in turns]
        assert len(set(map(tuple, expected))) == len(turns)
        assert not rig.built.serial
        assert (await rig.run(*turns[0], max_new_tokens=12)).ids == expected[0]
        results = await asyncio.gather(*(rig.run(*turn, max_new_tokens=12) for turn in turns))
        assert [result.ids for result in results] == expected
        assert rig.loaded.media is not None
        if name == "granite_speech":  # whose own forward embeds a placeholder that was generated as token 0
            token_id = rig.loaded.media.token_id(MediaKind.AUDIO)
            behind = [await rig.run(*turns[0], max_new_tokens=6, delivered=(each,)) for each in (token_id, 0)]
            assert behind[0].ids == behind[1].ids
        assert rig.loaded.media.manner.alone == (set() if name in SEVERAL else {MediaKind.AUDIO})
    finally:
        rig.built.engine.close()


def test_recordings_are_refused_beyond_what_is_heard(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path, "audioflamingo3")
    config = folder / "processor_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_audio_len": 3}))
    media = load_multimodal_model(_checkpoint(folder)).media
    assert media is not None
    media.read(MediaKind.AUDIO, recording(1, 3.0), b"")
    with pytest.raises(MediumRefused, match=r"lasts 3\.1 s, of which the model hears 3$"):
        media.read(MediaKind.AUDIO, recording(1, 3.1), b"")
    with pytest.raises(MediumRefused, match=r"too short|cannot be prepared"):
        media.read(MediaKind.AUDIO, recording(1, 0.001), b"")


def test_what_is_learned_in_an_adapter_is_not_left_out(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path, "granite_speech")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"has_lora_adapter": false', '"has_lora_adapter": true'))
    load_multimodal_model(_checkpoint(folder))
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelRefused, match=f"keeps what it learned of recordings in an adapter.* --adapter {folder}"):
        load_multimodal_model(_checkpoint(folder))
    own = GraniteSpeechForConditionalGeneration.from_pretrained(folder)
    name = next(name for name, _ in own.named_modules() if name.endswith("layers.0.self_attn.q_proj"))
    trained = pair(f"{name}.lora_A.weight", f"{name}.lora_B.weight", (32, 32))
    write_adapter(folder, folder, trained)
    settings = MultimodalSettings(model=str(folder), adapter=str(folder), device="cpu")
    merged = load_multimodal_model(checkpoint_of(settings)).model
    change = 1.5 * trained[f"{name}.lora_B.weight"] @ trained[f"{name}.lora_A.weight"]
    weight = own.get_parameter(f"{name}.weight")
    torch.testing.assert_close(merged.get_parameter(f"{name}.weight"), weight + change)


def _checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(str(folder), torch.device("cpu"))
