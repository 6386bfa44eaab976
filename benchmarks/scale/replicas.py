"""`python -m benchmarks.scale.replicas COUNT`: one process that answers as so many replicas, each on a port of its own.

It prints their addresses in one line, and for every line that it reads its CPU seconds and resident MiB.
"""

import asyncio
import os
import sys
import time

from benchmarks.soak.memory import resident_mib
from sensorium import rpc
from sensorium.v1 import models_pb2 as pb
from sensorium.v1 import models_pb2_grpc

MODEL = "Qwen/Qwen3-8B"


class Models(models_pb2_grpc.ModelServiceServicer):
    """Tells of one model, as much as a service tells."""

    def __init__(self) -> None:
        info = pb.ModelInfo(state=pb.MODEL_STATE_READY, concurrency=32, dtype="bfloat16", device="cuda:0")
        info.identity.name, info.identity.revision = MODEL, "b968826d9c46dd6066d109eabc6255188de91218"
        info.architecture, info.parameter_count = "Qwen3ForCausalLM", 8_190_735_360
        info.tasks.extend([pb.TASK_GENERATE_TEXT, pb.TASK_CLASSIFY_TEXT, pb.TASK_SUMMARIZE, pb.TASK_TRANSLATE])
        info.languages.extend(["en", "de", "fr", "es", "zh", "ja", "ar", "ru"])
        self._answer = pb.ListModelsResponse(models=[info])

    async def ListModels(self, request: pb.ListModelsRequest, context: object) -> pb.ListModelsResponse:  # noqa: N802
        """Returns the model."""
        del request, context
        return self._answer


async def main(count: int) -> None:
    """Serves until standard input ends."""
    server = rpc.Server(
        rpc.ServerSettings(port=0, metrics_port=0, drain_delay_seconds=0), ("sensorium.v1.ModelService",)
    )
    models_pb2_grpc.add_ModelServiceServicer_to_server(Models(), server.grpc)
    addresses = [f"127.0.0.1:{server.grpc.add_insecure_port('127.0.0.1:0')}" for _ in range(count)]
    async with server:
        server.ready()
        print(" ".join(addresses), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(time.process_time(), resident_mib(os.getpid()), flush=True)
        server.hurry.set()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
