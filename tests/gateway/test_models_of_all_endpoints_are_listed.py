from sensorium.errors import InvalidArgument, ModelNotServed
from sensorium.v1 import models_pb2
from tests.fakes.text_service import FakeTextService
from tests.gateway.rig import error_of, rig


async def test_replicas_are_counted_and_models_ordered_by_name_and_revision():
    async with (
        FakeTextService("zeta") as a,
        FakeTextService("alpha") as b,
        FakeTextService("alpha") as c,
        FakeTextService("alpha", revision="r2", state=models_pb2.MODEL_STATE_LOADING) as d,
        rig(a.address, b.address, c.address, d.address) as gateway,
    ):
        models = (await gateway.models.ListModels(models_pb2.ListModelsRequest())).models
        listed = [(model.identity.name, model.identity.revision, model.endpoint_count) for model in models]
        assert listed == [("alpha", "r1", 2), ("alpha", "r2", 1), ("zeta", "r1", 1)]
        found = (await gateway.models.GetModel(models_pb2.GetModelRequest(model="alpha"))).model
        assert (found.identity.revision, found.state) == ("r1", models_pb2.MODEL_STATE_READY)


async def test_only_models_for_a_task_are_listed_when_asked_for():
    async with (
        FakeTextService("a", tasks=(1,)) as one,
        FakeTextService("b", tasks=(2,)) as two,
        rig(one.address, two.address) as gateway,
    ):
        request = models_pb2.ListModelsRequest(task=models_pb2.TASK_EMBED_TEXT)
        assert [m.identity.name for m in (await gateway.models.ListModels(request)).models] == ["b"]


async def test_one_model_needs_no_name_and_several_do():
    async with FakeTextService("a") as one, FakeTextService("b") as two:
        async with rig(one.address) as gateway:
            assert (await gateway.models.GetModel(models_pb2.GetModelRequest())).model.identity.name == "a"
        async with rig(one.address, two.address) as gateway:
            error = await error_of(gateway.models.GetModel(models_pb2.GetModelRequest()))
            assert isinstance(error, InvalidArgument)
            assert [violation.field for violation in error.violations] == ["model"]
            unknown = await error_of(gateway.models.GetModel(models_pb2.GetModelRequest(model="c")))
            assert isinstance(unknown, ModelNotServed)
            assert unknown.metadata["servedModels"] == "a, b"
