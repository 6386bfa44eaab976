import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from transformers import PreTrainedModel

from sensorium.v1 import models_pb2 as pb
from services.engine.language.translation import Frame, Pairs
from services.engine.loading import LoadedModel
from services.generation.engine_facts import describe
from services.process import describe_settings, served_name
from services.text.config import TextSettings
from services.text.generative_model import describe_tasks
from services.text.verb_set import TextVerbs
from tests.services.bench import build


def test_a_folder_is_served_by_its_name_and_a_hub_id_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    assert served_name(f"{folder}{os.sep}") == "my-model"
    monkeypatch.chdir(folder)
    assert served_name(".") == "my-model"
    assert served_name("owner/model") == "owner/model"


def test_what_is_told_of_a_model_is_what_it_accepts(fresh_llama: LoadedModel, own_llama: PreTrainedModel) -> None:
    info = pb.ModelInfo()
    settings = TextSettings(model="x", max_sequences=3, max_queued_requests=5, max_queued_tokens=7, max_batch_items=9)
    loaded = replace(fresh_llama, rounded_parameter_count=7)
    describe(info, loaded, build(loaded, max_sequences=3), settings)
    describe_settings(info, settings)
    assert info.identity.revision == fresh_llama.revision
    assert (info.limits.context_token_count, info.limits.vocabulary_token_count) == (256, 320)
    assert (info.limits.queued_request_count, info.limits.queued_token_count) == (5, 7)
    assert (info.limits.batch_item_count, info.limits.message_bytes) == (9, settings.message_bytes)
    assert (info.architecture, info.dtype, info.device) == ("LlamaForCausalLM", "float32", "cpu")
    assert info.parameter_count == sum(parameter.numel() for parameter in own_llama.parameters())
    assert info.rounded_parameter_count == 7
    assert (info.concurrency, info.execution_path) == (3, pb.EXECUTION_PATH_BATCHED)
    assert info.execution_path_reason
    assert info.prompt_lookup


@pytest.mark.parametrize("summarizes", [True, False])
@pytest.mark.parametrize("translates", [True, False])
def test_tasks_are_those_it_has_a_verb_for(summarizes: bool, translates: bool) -> None:
    info, verb = pb.ModelInfo(), cast("Any", object())
    verbs = TextVerbs(verb, verb, verb if summarizes else None, verb if translates else None)
    describe_tasks(info, verbs, Pairs({("en", "de"): Frame()}) if translates else None)
    expected = [pb.TASK_GENERATE_TEXT, *[pb.TASK_SUMMARIZE] * summarizes, *[pb.TASK_TRANSLATE] * translates]
    assert list(info.tasks) == sorted([*expected, pb.TASK_TOKENIZE])
    assert list(info.languages) == (["en", "de"] if translates else [])
