"""What the gateway can be told of the calls it relays."""

from pydantic import Field

from sensorium import rpc


class RelaySettings(rpc.ServerSettings):
    """When a call is tried again, and when it is given up."""

    retry_ratio: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Tries at most this share of calls again, on another endpoint; one a second always. 0: none.",
    )
    resume_mib: int = Field(
        64,
        ge=0,
        description="Memory for what streams of generated text were sent, so that another endpoint can go on with them "
        "when theirs is lost; a token takes about a hundred bytes. 0: they end with BACKEND_LOST.",
    )
    first_token_seconds: float | None = Field(
        None,
        gt=0,
        description="Gives an endpoint up that generates nothing for this long from the start; absent: never.",
    )
    token_gap_seconds: float | None = Field(
        None, gt=0, description="Gives an endpoint up that goes on generating nothing for this long; absent: never."
    )
    call_seconds: float | None = Field(
        None, gt=0, description="Ends a call after this long, whatever its deadline; absent: only its deadline counts."
    )
