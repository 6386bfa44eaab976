"""`python -m benchmarks.scale.replicas COUNT`: one process that acts as COUNT replicas, each on its own port.

It prints their addresses in one line. For every line that it reads, it prints its CPU seconds and resident MiB.
"""

import asyncio
import os
import sys
import time

from benchmarks.soak.memory import resident_mib
from sensorium import rpc
from sensorium.v1 import models_pb2 as pb
from sensorium.v1.models_pb2_grpc import add_ModelServiceServicer_to_server
from services.model_servicer import ModelServicer
from services.served_model import ServedModel

MODEL = "Qwen/Qwen3-8B"


def served() -> ServedModel:
    """Returns a model description as large as a real one."""
    model = ServedModel(MODEL)
    info = model.info
    info.identity.revision = "b968826d9c46dd6066d109eabc6255188de91218"
    info.concurrency, info.dtype, info.device = 32, "bfloat16", "cuda:0"
    info.architecture, info.parameter_count = "Qwen3ForCausalLM", 8_190_735_360
    info.tasks.extend([pb.TASK_GENERATE_TEXT, pb.TASK_CLASSIFY_TEXT, pb.TASK_SUMMARIZE, pb.TASK_TRANSLATE])
    info.languages.extend(["en", "de", "fr", "es", "zh", "ja", "ar", "ru"])
    model.enter(pb.MODEL_STATE_READY)
    return model


async def main(count: int) -> None:
    """Serves until standard input ends."""
    settings = rpc.ServerSettings.model_validate({"port": 0, "metrics_port": 0, "drain_delay_seconds": 0})
    server = rpc.Server(settings, ("sensorium.v1.ModelService",))
    add_ModelServiceServicer_to_server(ModelServicer(served()), server.grpc)
    addresses = [f"127.0.0.1:{server.grpc.add_insecure_port('127.0.0.1:0')}" for _ in range(count)]
    async with server:
        server.ready()
        print(" ".join(addresses), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(time.process_time(), resident_mib(os.getpid()), flush=True)
        server.hurry.set()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
