"""`python -m tests.fakes.many_endpoints COUNT`: serves one fake service on COUNT ports and prints the ports."""

import asyncio
import sys

from sensorium import rpc
from sensorium.v1 import models_pb2_grpc
from tests.fakes.text_service import SERVICES, FakeTextService, ModelServicer


async def serve(count: int) -> None:
    fake = FakeTextService()
    server = rpc.Server(rpc.ServerSettings(port=0, metrics_port=0, drain_delay_seconds=0), SERVICES)
    models_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(fake), server.grpc)
    ports = [server.grpc.add_insecure_port("127.0.0.1:0") for _ in range(count)]
    async with server:
        server.ready()
        print(*ports, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
