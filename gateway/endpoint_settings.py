"""What the gateway can be told of its connections to endpoints."""

from pydantic import Field, FilePath, ValidationInfo, field_validator

from sensorium import pem, rpc


class EndpointSettings(rpc.ServerSettings):
    """How endpoints are spoken to: in plaintext, or by TLS where their authority is given."""

    endpoint_tls_ca_file: FilePath | None = Field(
        None, description="PEM of the authorities that endpoints' certificates come from; absent: plaintext."
    )
    endpoint_tls_name: str | None = Field(
        None,
        min_length=1,
        description="Name in endpoints' certificates, as they are reached by address; {pool} stands for the pool's. "
        "Absent: the host of the address.",
    )
    endpoint_tls_certificate_file: FilePath | None = Field(
        None, description="PEM chain to show endpoints that ask for one (mutual TLS)."
    )
    endpoint_tls_key_file: FilePath | None = Field(None, description="PEM key of that certificate.")

    @field_validator("endpoint_tls_ca_file")
    @classmethod
    def _endpoint_authorities(cls, authorities: FilePath | None) -> FilePath | None:
        if authorities is not None:
            pem.check_authorities(authorities)
        return authorities

    @field_validator("endpoint_tls_name", "endpoint_tls_certificate_file", "endpoint_tls_key_file")
    @classmethod
    def _with_authorities(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get("endpoint_tls_ca_file", value) is None:
            raise ValueError("it is not used in plaintext; give the authorities of endpoints too")
        return value

    @field_validator("endpoint_tls_key_file")
    @classmethod
    def _endpoint_key_and_certificate(cls, key: FilePath | None, info: ValidationInfo) -> FilePath | None:
        certificate = info.data.get("endpoint_tls_certificate_file", key)
        if (key is None) != (certificate is None):
            raise ValueError("a TLS certificate and its key come together; one of them is missing")
        if key is not None and certificate is not None:
            pem.check_pair(certificate, key)
        return key
