"""What the gateway can be told of the calls it takes in."""

from pydantic import Field, field_validator

from sensorium import rpc


class AdmissionSettings(rpc.ServerSettings):
    """How much is given to endpoints at once, who waits for them, and for how long."""

    over_commit: float = Field(
        1.5,
        ge=1,
        description="Gives an endpoint this many times the calls it works on at once, so that it need not wait for the "
        "next; the others wait in the gateway.",
    )
    queue_requests: int = Field(
        1024, ge=0, description="Lets at most this many calls wait for each model of a pool; more get QUEUE_FULL."
    )
    queue_bytes: int = Field(
        256 * 1024 * 1024, ge=0, description="Lets requests of at most this many bytes in all wait for each model."
    )
    queue_seconds: float = Field(60.0, gt=0, description="Lets a call wait at most this long; then it gets QUEUE_FULL.")
    cold_models: rpc.CommaSeparated = Field(
        (),
        description="Models of pools that may be scaled to zero, POOL=MODEL, separated by commas: calls for them wait "
        "for an endpoint instead of getting NO_ENDPOINT.",
    )
    cold_start_seconds: float = Field(
        300.0, gt=0, description="Lets a call wait at most this long for the first endpoint of a pool in --cold-models."
    )
    tenant_metadata: str = Field(
        "x-tenant",
        pattern="^[a-z0-9_.-]+$",
        description="Metadata key by which calls are told apart: while they wait, all tenants get equally many tokens.",
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
