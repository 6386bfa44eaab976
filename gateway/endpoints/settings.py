"""Settings of the gateway's connections to endpoints."""

from pydantic import Field, FilePath, ValidationInfo, field_validator

from sensorium import pem, rpc


class EndpointSettings(rpc.ServerSettings):
    """Plaintext or TLS to endpoints: TLS if a CA file is given."""

    endpoint_tls_ca_file: FilePath | None = Field(
        None, description="PEM file of the CAs that sign the endpoints' certificates; absent: plaintext."
    )
    endpoint_tls_name: str | None = Field(
        None,
        min_length=1,
        description="Host name expected in the endpoints' certificates, since they are reached by address; {pool} is "
        "replaced by the pool's name. Absent: the host of the address.",
    )
    endpoint_tls_certificate_file: FilePath | None = Field(
        None, description="PEM file of the client certificate chain for endpoints that ask for one (mutual TLS)."
    )
    endpoint_tls_key_file: FilePath | None = Field(None, description="PEM file of that certificate's key.")

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
            raise ValueError("it has no effect in plaintext; set --endpoint-tls-ca-file too")
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
