"""The server kit of the gateway and the services: settings, errors, health, drain. Free of torch.

A process is some settings and a coroutine that serves with them:

    class Settings(rpc.ServerSettings):
        model: str = Field(description="Name or folder of the model.")

    async def serve(settings: Settings) -> None:
        engine = Engine(settings.model)
        server = rpc.Server(settings, ["sensorium.v1.TextService"], observer=metrics, registry=metrics.registry)
        text_pb2_grpc.add_TextServiceServicer_to_server(Servicer(engine), server.grpc)
        try:
            await rpc.run(server, prepare=engine.load)  # answers at once, is ready after `load`, drains on SIGTERM
        finally:
            engine.close()

    rpc.end(rpc.main(Settings, serve, program="python -m services.text"))

Servicers are asynchronous, raise `sensorium.errors`, and find the id of their request in `rpc.REQUEST_ID`. Tests start
the same server in their own loop: `async with rpc.Server(settings, names) as server: server.ready()`.
"""

from sensorium.rpc.answers import consumption_of
from sensorium.rpc.configuration import load
from sensorium.rpc.gate import Gate
from sensorium.rpc.health import Health
from sensorium.rpc.interceptor import HASTE_SECONDS
from sensorium.rpc.lifecycle import end, main, run
from sensorium.rpc.observer import CallObserver, NobodyObserves
from sensorium.rpc.reading import read_within
from sensorium.rpc.request_ids import REQUEST_ID, request_id_of
from sensorium.rpc.server import CannotServe, PortTaken, Server
from sensorium.rpc.settings import CommaSeparated, Port, ServerSettings
from sensorium.rpc.tracing import attempt, trace_headers
from sensorium.rpc.writing import write_within

__all__ = [
    "HASTE_SECONDS",
    "REQUEST_ID",
    "CallObserver",
    "CannotServe",
    "CommaSeparated",
    "Gate",
    "Health",
    "NobodyObserves",
    "Port",
    "PortTaken",
    "Server",
    "ServerSettings",
    "attempt",
    "consumption_of",
    "end",
    "load",
    "main",
    "read_within",
    "request_id_of",
    "run",
    "trace_headers",
    "write_within",
]
