from sensorium.errors import DeadlineExceeded
from tests.fakes.text_service import FakeTextService
from tests.gateway.rig import error_of, rig


async def test_a_stream_without_a_first_message_ends():
    async with FakeTextService() as fake, rig(fake.address, silent_client_seconds=0.3) as gateway:
        assert isinstance(await error_of(gateway.speech.StreamTranscribe()), DeadlineExceeded)
        assert not fake.seen
