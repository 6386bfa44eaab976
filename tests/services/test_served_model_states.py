import pytest

from sensorium.errors import InvalidArgument, ModelNotReady, ModelNotServed
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as pb
from services.enums import unknown_enum_numbers
from services.model_servicer import ModelServicer
from services.served_model import ServedModel


@pytest.fixture
def served() -> ServedModel:
    return ServedModel("tiny")


def test_a_model_begins_as_loading_under_its_name(served: ServedModel) -> None:
    assert served.info.state == pb.MODEL_STATE_LOADING
    assert (served.identity.name, served.info.endpoint_count) == ("tiny", 1)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (pb.MODEL_STATE_LOADING, "loading"),
        (pb.MODEL_STATE_WARMING, "warming"),
        (pb.MODEL_STATE_DRAINING, "draining"),
        (pb.MODEL_STATE_FAILED, "failed"),
    ],
)
def test_only_a_ready_model_can_be_asked(served: ServedModel, state: pb.ModelState.ValueType, word: str) -> None:
    served.enter(state, "Because of the weather.")
    with pytest.raises(ModelNotReady) as refused:
        served.require("tiny")
    assert refused.value.metadata == {"model": "tiny", "state": word}
    assert refused.value.retry_after
    assert "weather" in refused.value.message
    served.enter(pb.MODEL_STATE_READY)
    served.require("tiny")
    served.require("")
    assert served.info.state_detail == ""


def test_another_model_is_not_served_whatever_the_state(served: ServedModel) -> None:
    for state in (pb.MODEL_STATE_LOADING, pb.MODEL_STATE_READY):
        served.enter(state)
        with pytest.raises(ModelNotServed) as refused:
            served.require("other")
        assert refused.value.metadata == {"model": "other", "servedModels": "tiny"}


async def test_the_model_can_be_looked_up_while_it_loads(served: ServedModel) -> None:
    servicer = ModelServicer(served)
    for name in ("", "tiny"):
        got = await servicer.GetModel(pb.GetModelRequest(model=name), None)
        assert got.model.state == pb.MODEL_STATE_LOADING
    with pytest.raises(ModelNotServed):
        await servicer.GetModel(pb.GetModelRequest(model="other"), None)


async def test_models_are_listed_by_task(served: ServedModel) -> None:
    served.info.tasks[:] = [pb.TASK_GENERATE_TEXT]
    servicer = ModelServicer(served)
    for task, count in ((pb.TASK_UNSPECIFIED, 1), (pb.TASK_GENERATE_TEXT, 1), (pb.TASK_TRANSCRIBE, 0)):
        assert len((await servicer.ListModels(pb.ListModelsRequest(task=task), None)).models) == count
    with pytest.raises(InvalidArgument) as refused:
        await servicer.ListModels(pb.ListModelsRequest(task=999), None)  # type: ignore[arg-type]
    assert [violation.field for violation in refused.value.violations] == ["task"]


def test_enum_numbers_are_looked_for_at_any_depth_and_in_lists() -> None:
    info = pb.ModelInfo(state=77, tasks=[pb.TASK_EMBED_TEXT, 888, 999])  # type: ignore[list-item]
    found = {v.field for v in unknown_enum_numbers(pb.ListModelsResponse(models=[pb.ModelInfo(), info]))}
    assert found == {"models[1].state", "models[1].tasks[1]", "models[1].tasks[2]"}


def test_messages_without_unknown_numbers_and_with_maps_are_fine() -> None:
    parameters = common.GenerationParameters(logit_bias={1: 2.0})
    assert list(unknown_enum_numbers(parameters)) == []
