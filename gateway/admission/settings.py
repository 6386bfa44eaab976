"""Settings of admission: concurrency, queues, cold pools and tenants."""

from pydantic import Field, field_validator

from sensorium import rpc


class AdmissionSettings(rpc.ServerSettings):
    """How many calls an endpoint gets at once, which calls wait, and for how long."""

    over_commit: float = Field(
        1.5,
        ge=1,
        description="Most calls in flight at an endpoint, as a multiple of its concurrency. Above 1, the next call is "
        "there when one ends. Further calls wait in the gateway.",
    )
    queue_requests: int = Field(
        1024, ge=0, description="Calls that may wait for each model of a pool; further ones get QUEUE_FULL."
    )
    queue_bytes: int = Field(
        256 * 1024 * 1024, ge=0, description="Bytes of all requests that may wait for each model of a pool."
    )
    queue_seconds: float = Field(60.0, gt=0, description="Longest wait of a call; then it gets QUEUE_FULL.")
    cold_models: rpc.CommaSeparated = Field(
        (),
        description="Models of pools that may be scaled to zero, POOL=MODEL, separated by commas: calls for them wait "
        "for an endpoint instead of getting NO_ENDPOINT.",
    )
    cold_start_seconds: float = Field(
        300.0, gt=0, description="Longest wait of a call for the first endpoint of a pool in --cold-models."
    )
    tenant_metadata: str = Field(
        "x-tenant",
        pattern="^[a-z0-9_.-]+$",
        description="Metadata key that names the tenant of a call; waiting tenants get equal numbers of tokens.",
    )

    @field_validator("cold_models")
    @classmethod
    def _models(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for model in models:
            pool, separator, name = model.partition("=")
            if not (pool and separator and name):
                raise ValueError(f"{model!r} is not POOL=MODEL")
        names = [model.partition("=")[2] for model in models]
        if len(set(names)) < len(names):
            raise ValueError("a model is in two pools")
        return models
