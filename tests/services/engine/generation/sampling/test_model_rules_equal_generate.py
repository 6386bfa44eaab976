"""What a checkpoint's generation configuration demands is followed as `generate` follows it, when nobody asks more."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from services.engine.checkpoint import ModelRefused
from services.engine.generation.building.parts import Parts
from services.engine.generation.requests.request import FinishReason, GenerationRequest, OutputRules
from services.engine.generation.requests.resolution import (
    GenerationLimits,
    GenerationOptions,
    resolve,
    resolve_beams,
    resolve_candidates,
)
from services.engine.loading import LoadedModel, load_language_model
from services.engine.structure.structure import Structure
from tests.drawn import drawn
from tests.services.bench import Result, bench_of, outputs_of, parts_of, read
from tests.services.engine.generation.own_generate import own_model, write
from tests.services.structures import regex
from tests.tiny.language_models import tokenizer

SOURCE = [7, 40, 80, 120, 160, 200, 240, 280, 40, 80, 121]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "first token": ("m2m_100", {"forced_bos_token_id": 77}),
    "last token": ("bart", {"forced_eos_token_id": 2}),
    "one of several last tokens": ("bart", {"forced_eos_token_id": [2, 9]}),
    "both": ("bart", {"forced_bos_token_id": 1, "forced_eos_token_id": 2, "no_repeat_ngram_size": 3}),
    "suppressed": ("marian", {"suppress_tokens": list(range(20, 300))}),
    "suppressed first": ("t5", {"begin_suppress_tokens": list(range(40, 300))}),
    "suppressed behind the first": ("bart", {"forced_bos_token_id": 1, "begin_suppress_tokens": list(range(3, 310))}),
    "likelier source": ("t5", {"encoder_repetition_penalty": 3.0, "no_repeat_ngram_size": 2}),
    "unlikelier source": ("marian", {"encoder_repetition_penalty": 0.2}),
    "no runs of the source": ("bart", {"encoder_no_repeat_ngram_size": 2, "encoder_repetition_penalty": 4.0}),
    "no token of the source": ("marian", {"encoder_no_repeat_ngram_size": 1}),
    "bad words": ("marian", {"bad_words_ids": [[5], [173, 128]]}),
}


def load(folder: Path) -> LoadedModel:
    return load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="auto")


async def served(
    loaded: LoadedModel,
    source: list[int],
    structure: Structure | None = None,
    held: tuple[int, ...] = (),
    *,
    serial: bool = False,
    parts: Parts | None = None,
    **asked: Any,
) -> Result:
    """Returns what a request gets that leaves all but `asked` to the model; `parts` are those of its engine."""
    limits = GenerationLimits(256, 320, 256, 320)
    starts = loaded.defaults.decoder_start_ids
    prompt, read_first = (starts, tuple(source)) if starts else (tuple(source), ())
    options = GenerationOptions(**asked)
    sampling, stopping = resolve(options, loaded.defaults, limits, len(prompt))
    beams = resolve_beams(options, loaded.defaults)
    request = GenerationRequest(
        prompt, sampling, stopping, delivered=(held,), source_token_ids=read_first, structure=structure, beams=beams,
        candidate_count=resolve_candidates(options, loaded.defaults, beams),
    )  # fmt: skip
    bench = bench_of(parts or parts_of(loaded, serial=serial))
    try:
        return await read(bench.engine.submit(request, *outputs_of(request)))
    finally:
        bench.engine.close()


def text_behind_first(result: Result) -> str:
    return tokenizer().decode(result.ids[1:], skip_special_tokens=True)


def generated(folder: Path, name: str, source: list[int]) -> list[int]:
    model, ids = own_model(folder, name), torch.tensor([source])
    return model.generate(ids, attention_mask=torch.ones_like(ids))[0].tolist()


@pytest.mark.parametrize("case", drawn([*CASES], 4))
async def test_a_rule_changes_the_output_as_it_does_for_generate(case: str, tmp_path: Path) -> None:
    name, rules = CASES[case]
    length = {"max_new_tokens": 12, "min_new_tokens": 4}
    folder = write(tmp_path / "ruled", name, **length, **rules)
    result = await served(load(folder), SOURCE)
    own = generated(folder, name, SOURCE)
    assert [*load(folder).decoder_start_ids, *result.ids] == own
    plain = write(tmp_path / "plain", name, **length)
    assert own != generated(plain, name, SOURCE), "the rule has changed nothing"


@pytest.mark.parametrize(("name", "begun"), [("bart", [2]), ("llama", SOURCE)])
async def test_lengths_that_count_the_prompt_are_followed(name: str, begun: list[int], tmp_path: Path) -> None:
    lengths = {"max_length": len(begun) + 9, "min_length": len(begun) + 5}
    folder = write(tmp_path, name, eos_token_id=[2, *range(160, 300)], **lengths)
    result = await served(load(folder), SOURCE)
    assert [*begun, *result.ids] == generated(folder, name, SOURCE)
    assert len(result.ids) > 5
    longer = write(tmp_path / "forced", name, max_length=len(begun) + 9, forced_eos_token_id=2)
    result = await served(load(longer), SOURCE)
    assert [*begun, *result.ids] == generated(longer, name, SOURCE)
    assert len(result.ids) == 9
    assert result.completed.finish.reason is FinishReason.END_OF_SEQUENCE


async def test_who_ignores_the_end_is_not_forced_to_it(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "bart", forced_eos_token_id=2))
    result = await served(loaded, SOURCE, max_new_tokens=6, ignore_eos=True)
    assert result.completed.finish.reason is FinishReason.MAX_NEW_TOKENS


async def test_a_structured_text_begins_behind_the_first_token_and_ends_by_itself(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "m2m_100", forced_bos_token_id=77, forced_eos_token_id=2))
    structure, parts = regex("[a-c]{2}(x[yz]){1,9}"), parts_of(loaded)
    for count, cut in ((30, False), (6, True)):
        asked: dict[str, Any] = {"max_new_tokens": count, "temperature": 9.0, "seed": 3, "parts": parts}
        whole = await served(loaded, SOURCE, structure, **asked)
        assert whole.ids[0] == 77
        assert bool(re.fullmatch("[a-c]{2}(x[yz]){1,9}", text_behind_first(whole))) is not cut
        for known in (1, 3):
            rest = await served(loaded, SOURCE, structure, tuple(whole.ids[:known]), **asked)
            assert whole.ids[:known] + rest.ids == whole.ids


@pytest.mark.parametrize("wrong", [{"top_k": -1, "do_sample": True}, {"repetition_penalty": 0}])
def test_numbers_that_generate_refuses_are_refused_at_load(wrong: dict[str, Any], tmp_path: Path) -> None:
    folder = write(tmp_path, "llama", max_new_tokens=3)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(ValueError, match="strictly positive"):
        generated(folder, "llama", SOURCE)
    with pytest.raises(ModelRefused, match=next(iter(wrong))):
        load(folder)


async def test_several_outputs_are_the_models_own_on_its_own_cache_too(tmp_path: Path) -> None:
    folder = write(tmp_path, "mamba", num_beams=2, num_return_sequences=2, max_new_tokens=5)
    model, ids = own_model(folder, "mamba"), torch.tensor([SOURCE])
    own = model.generate(ids, attention_mask=torch.ones_like(ids))[:, len(SOURCE) :].tolist()
    result = await served(load(folder), SOURCE, serial=True)
    assert [list(each.token_ids) for each in result.candidates] == own


def test_rules_are_read_from_the_generation_configuration(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A negative id is that of no token, not of the last one."""
    folder = write(
        tmp_path, "bart", forced_bos_token_id=1, forced_eos_token_id=2, suppress_tokens=[5, -1], eos_token_id=[2, -1],
        begin_suppress_tokens=[6, 7], encoder_repetition_penalty=1.5, encoder_no_repeat_ngram_size=3, num_beams=4,
    )  # fmt: skip
    loaded = load(folder)
    assert loaded.defaults.rules == OutputRules(1, (2,), (5,), (6, 7), 1.5, 3)
    assert loaded.defaults.decoder_start_ids == loaded.decoder_start_ids == (2,)
    assert loaded.defaults.end_token_ids == {2}
    assert loaded.defaults.beam_count == 4
    assert not caplog.text
