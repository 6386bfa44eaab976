import asyncio
import time

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest

from gateway.admission.cold import ColdModels
from gateway.app import Gateway
from gateway.config import GatewaySettings
from gateway.endpoints.router import EndpointState, only_model
from sensorium import rpc
from sensorium.errors import InvalidArgument, ModelNotServed, NoEndpoint, QueueFull, TaskNotSupported
from sensorium.v1 import text_pb2
from sensorium.v1.models_pb2 import TASK_CLASSIFY_IMAGE, TASK_GENERATE_TEXT
from tests.fakes.cable import Cable
from tests.fakes.text_service import FakeTextService
from tests.gateway.rig import Rig, error_of, rig
from tests.waiting import until

REQUEST = text_pb2.TokenizeRequest(texts=["a"])


def _depth(gateway: Rig) -> float:
    return gateway.metric("sensorium_gateway_queue_depth", pool="text", priority="normal")


async def test_calls_wait_until_an_endpoint_appears_with_or_without_a_model_name():
    async with FakeTextService(concurrency=2) as fake, Cable(fake.port) as cable:
        await cable.cut()
        async with rig(f"text={cable.address}", reachable=False, cold_models=("text=tiny",)) as gateway:
            begun = time.monotonic()
            calls = [gateway.text.Tokenize(text_pb2.TokenizeRequest(model=name)) for name in ("tiny", "") * 5]
            await until(lambda: _depth(gateway) == 10)
            assert gateway.metric("sensorium_gateway_pool_capacity", pool="text") == 0
            assert gateway.metric("sensorium_gateway_pool_saturation", pool="text") == 10
            # Health is SERVING: a client that checks it first must still make the call that starts the pool.
            asked = HealthCheckRequest(service="sensorium.v1.TextService").SerializeToString()
            assert await gateway.channel.unary_unary("/grpc.health.v1.Health/Check")(asked) == b"\x08\x01"
            await asyncio.sleep(0.5)
            await cable.mend()
            await asyncio.gather(*calls)
            assert time.monotonic() - begun > 0.5
            assert _depth(gateway) == 0
            wait = {"pool": "text", "outcome": "dispatched"}
            assert gateway.metric("sensorium_gateway_queue_wait_seconds_count", **wait) == 10
            assert gateway.metric("sensorium_gateway_queue_wait_seconds_sum", **wait) > 5


async def test_no_endpoint_in_time_is_no_endpoint():
    cold = {"cold_models": ("text=tiny",), "cold_start_seconds": 0.3}
    async with rig("text=127.0.0.1:9", reachable=False, startup_seconds=2, **cold) as gateway:
        error = await error_of(gateway.text.Tokenize(REQUEST))
        assert isinstance(error, NoEndpoint)
        assert error.retry_after
        # No pool here can ever serve this task.
        assert isinstance(await error_of(gateway.channel.unary_unary(_EMBED_IMAGE)(b"")), NoEndpoint)
        assert _depth(gateway) == 0
        expired = {"pool": "text", "outcome": "expired"}
        await until(lambda: gateway.metric("sensorium_gateway_admission_total", **expired) == 1)


_EMBED_IMAGE = "/sensorium.v1.VisionService/EmbedImage"


async def test_the_queue_is_bounded_and_a_wrong_task_is_refused_once_the_models_tasks_are_known():
    async with FakeTextService() as fake, Cable(fake.port) as cable:
        await cable.cut()
        async with rig(
            f"text={cable.address}", reachable=False, cold_models=("text=tiny",), queue_requests=1
        ) as gateway:
            held = gateway.text.Embed(text_pb2.EmbedRequest(texts=["a"]))
            await until(lambda: _depth(gateway) == 1)
            assert isinstance(await error_of(gateway.text.Tokenize(REQUEST)), QueueFull)
            await cable.mend()
            assert isinstance(await error_of(held), TaskNotSupported)
            assert isinstance(
                await error_of(gateway.text.Tokenize(text_pb2.TokenizeRequest(model="x"))), ModelNotServed
            )


async def test_a_models_tasks_are_remembered_when_its_endpoints_are_gone():
    async with (
        FakeTextService("one", tasks=(2,)) as one,
        FakeTextService("two", tasks=(11,)) as two,
        Cable(two.port) as cable,
        rig(f"a={one.address}", f"b={cable.address}", cold_models=("b=two",)) as gateway,
    ):
        await cable.cut()
        await until(lambda: gateway.endpoint(cable.address).state is EndpointState.CONNECTING)
        call = gateway.text.Tokenize(REQUEST)
        await until(lambda: gateway.metric("sensorium_gateway_queue_depth", pool="b", priority="normal") == 1)
        await cable.mend()
        await call
        assert len(two.seen) == 1


@pytest.mark.parametrize("models", ["text", "=m", "text=", "a=m,b=m"])
def test_malformed_cold_models_are_refused(models: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        rpc.load(GatewaySettings, "gateway", ["--static", "a:1", "--cold-models", models])
    assert f"--cold-models {models}: " in capsys.readouterr().err


async def test_a_cold_pool_that_discovery_does_not_know_is_logged(caplog: pytest.LogCaptureFixture):
    Gateway(GatewaySettings(static=("text=a:1",), port=0, metrics_port=0, cold_models=("text=m", "tetx=n")))
    assert [record.getMessage() for record in caplog.records if record.name == "gateway"] == [
        "--cold-models names pool tetx, which discovery does not have"
    ]


def test_a_pool_name_with_a_modality_prefix_implies_its_tasks() -> None:
    """Otherwise calls without a model's name would fail, as several models might do them."""
    places = ColdModels.of(("text=large", "text-small=small", "vision=eyes", "speech=ears")).stand_ins.values()
    assert only_model(places, {TASK_CLASSIFY_IMAGE}) == "eyes"
    with pytest.raises(InvalidArgument, match="large, small"):
        only_model(places, {TASK_GENERATE_TEXT})
