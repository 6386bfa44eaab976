from sensorium import AsyncClient
from sensorium.v1 import text_pb2
from tests.client.fake import Fake
from tests.fakes.cable import Cable


async def test_the_first_call_waits_for_a_connection_that_takes_long(fake: Fake) -> None:
    fake.answers["TextService/Tokenize"] = lambda request, context: text_pb2.TokenizeResponse()
    async with (
        Cable(int(fake.target.rpartition(":")[2]), seconds=0.3) as cable,
        AsyncClient(cable.address, timeout=300, retry=None) as client,
    ):
        await client.text.tokenize(text_pb2.TokenizeRequest(texts=["a"]))
