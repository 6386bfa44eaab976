"""What the gateway can be told."""

from pydantic import Field, field_validator

from sensorium import rpc


class GatewaySettings(rpc.ServerSettings):
    """Routes calls of every modality to the services that serve their models."""

    port: rpc.Port = Field(50050, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: rpc.Port = Field(9050, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    static: rpc.CommaSeparated = Field(description="Addresses of the services, HOST:PORT, separated by commas.")
    refresh_seconds: float = Field(
        10.0, gt=0, description="Asks each endpoint this often for its models; one that does not answer is not used."
    )
    probe_timeout_seconds: float = Field(5.0, gt=0, description="Waits this long for an endpoint to tell its models.")
    reconnect_seconds: float = Field(
        5.0, gt=0, description="Waits at most this long between attempts to reach an endpoint that is down."
    )
    startup_seconds: float = Field(
        5.0, ge=0, description="Is ready once every endpoint has been tried, but at the latest after this long."
    )

    @field_validator("static")
    @classmethod
    def _addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        if not addresses:
            raise ValueError("give at least one address")
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError(f"{address!r} is not HOST:PORT")
        return tuple(dict.fromkeys(addresses))
