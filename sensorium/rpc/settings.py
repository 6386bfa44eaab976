"""What a server process can be told, by flags and environment variables."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, FilePath, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sensorium import pem

PREFIX = "SENSORIUM_"
"""Begins the name of every environment variable read."""


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _not_a_link(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        raise ValueError(
            "this is the address of a Kubernetes Service, which the kubelet puts into the environment of every pod; "
            "set `enableServiceLinks: false` in the pod, or give the number as a flag"
        )
    return value


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Texts, in flags and environment variables separated by commas."""

Port = Annotated[int, Field(ge=0, le=65535), BeforeValidator(_not_a_link)]
"""A TCP port; 0 lets the system choose one, which the log then names."""


class ServerSettings(BaseSettings):
    """What every server process can be told. Each process extends this with its own; see `rpc.load`."""

    # JSON in an environment variable is decoded before it is validated, and stops at the first that is none.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, enable_decoding=False, frozen=True, extra="forbid"
    )

    # Loopback, so that a server tried out on a workstation is not open to its network; an image or a pod, whose network
    # is its own, sets 0.0.0.0, without which neither kubelet nor Service reaches it.
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    port: Port = Field(50050, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: Port = Field(9050, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    message_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        le=2**31 - 1,
        description="Largest message, either way. Equal at gateway and service.",
    )
    reflection: bool = Field(False, description="Serves gRPC reflection, which shows the schema to anyone.")
    drain_delay_seconds: float = Field(
        5.0,
        ge=0,
        description="After SIGTERM, keeps accepting calls this long while endpoints are taken out of routing.",
    )
    drain_grace_seconds: float = Field(
        30.0, ge=0, description="After that, refuses new calls and lets running ones finish for at most this long."
    )
    stalled_client_seconds: float = Field(
        60.0, gt=0, description="Ends a stream whose client takes no message for this long."
    )
    silent_client_seconds: float = Field(
        300.0, gt=0, description="Ends a stream that waits for its client's next message for this long."
    )
    max_connection_age_seconds: float | None = Field(
        None, gt=0, description="Asks clients to reconnect after this long, so that load spreads over new replicas."
    )
    tls_certificate_file: FilePath | None = Field(None, description="PEM chain to serve TLS with; absent: plaintext.")
    tls_key_file: FilePath | None = Field(None, description="PEM key of the certificate.")
    tls_client_ca_file: FilePath | None = Field(
        None, description="PEM of the authorities whose clients are let in (mutual TLS); absent: any client."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["line", "json"] = Field("line", description="Form of the log on standard error.")
    log_calls: bool = Field(True, description="Logs a line for each call when it has ended.")
    log_exception_messages: bool = Field(
        False, description="Logs what exceptions say, which may quote prompts and other content of requests."
    )

    otlp_endpoint: str | None = Field(
        None,
        description="http://HOST:PORT of the collector (OTLP over gRPC) that traces go to; absent: none are made.",
    )
    trace_ratio: float = Field(
        1.0, ge=0, le=1, description="Share recorded of the traces that begin here; whoever calls decides on his own."
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _collector(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not re.fullmatch(r"https?://[^/\s]+:\d{1,5}", endpoint):
            raise ValueError("is not http://HOST:PORT or https://HOST:PORT")
        return endpoint

    # As validators of fields, and not of the whole, these speak even where other fields are wrong.
    @field_validator("tls_key_file")
    @classmethod
    def _key_and_certificate(cls, key: FilePath | None, info: ValidationInfo) -> FilePath | None:
        certificate = info.data.get("tls_certificate_file", key)
        if (key is None) != (certificate is None):
            raise ValueError("a TLS certificate and its key come together; one of them is missing")
        if key is not None and certificate is not None:
            pem.check_pair(certificate, key)
        return key

    @field_validator("tls_client_ca_file")
    @classmethod
    def _authority_and_certificate(cls, authority: FilePath | None, info: ValidationInfo) -> FilePath | None:
        if authority is not None and info.data.get("tls_certificate_file", authority) is None:
            raise ValueError("clients can only be asked for certificates under TLS; give this server's certificate too")
        if authority is not None:
            pem.check_authorities(authority)
        return authority
