"""All settings of the gateway process, from flags and environment variables."""

from pydantic import Field

from gateway.admission.settings import AdmissionSettings
from gateway.discovery.settings import DiscoverySettings
from gateway.endpoints.settings import EndpointSettings
from gateway.relay.settings import RelaySettings
from sensorium import rpc


class GatewaySettings(DiscoverySettings, EndpointSettings, AdmissionSettings, RelaySettings):
    """Routes calls of every modality to the services that serve their models."""

    port: rpc.Port = Field(50050, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: rpc.Port = Field(9050, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    refresh_seconds: float = Field(
        10.0, gt=0, description="Asks each endpoint this often for its models; without an answer, it is not used."
    )
    probe_timeout_seconds: float = Field(
        5.0, gt=0, description="Waits this long for an endpoint to answer a question for its health or its models."
    )
    reconnect_seconds: float = Field(
        5.0, gt=0, description="Waits at most this long between attempts to reach an endpoint that is down."
    )
    startup_seconds: float = Field(
        5.0, ge=0, description="Is ready once every endpoint has been tried, but at the latest after this long."
    )
