"""Settings of retries, resumption and time limits of relayed calls."""

from pydantic import Field

from sensorium import rpc


class RelaySettings(rpc.ServerSettings):
    """When a call is retried, and when it is given up."""

    retry_ratio: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Retries at most this share of calls on another endpoint, plus one per second. 0: no retries.",
    )
    resume_mib: int = Field(
        64,
        ge=0,
        description="Memory for what was sent on streams of generated text, so that another endpoint can continue them "
        "when theirs is lost; a token takes about a hundred bytes. 0: such streams end with BACKEND_LOST.",
    )
    first_token_seconds: float | None = Field(
        None,
        gt=0,
        description="Gives up an endpoint that generates no first token for this long; absent: never.",
    )
    token_gap_seconds: float | None = Field(
        None, gt=0, description="Gives up an endpoint that generates no further token for this long; absent: never."
    )
    call_seconds: float | None = Field(
        None, gt=0, description="Ends a call after this long, whatever its deadline; absent: only its deadline counts."
    )
