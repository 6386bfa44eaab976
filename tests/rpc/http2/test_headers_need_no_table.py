from sensorium.rpc.http2 import frames
from tests.rpc.http2.wire import wire
from tests.rpc.peer import peer


async def test_a_peer_that_keeps_no_table_can_read_the_headers() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet(header_table_size=0)
        for number in (1, 3):
            caller.call(number, x_request_id=f"call-{number}")
            began = caller.headers((await caller.until(frames.HEADERS, number))[1])
            assert began[":status"] == "200"
            assert began["content-type"] == "application/grpc"
            assert began["x-request-id"] == f"call-{number}"
            assert (await caller.trailers(number))["grpc-status"] == "0"


async def test_long_metadata_come_back_whole() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet()
        caller.call(1, x_request_id="x" * 128)  # its length takes two bytes
        began = caller.headers((await caller.until(frames.HEADERS, 1))[1])
        assert began["x-request-id"] == "x" * 128
