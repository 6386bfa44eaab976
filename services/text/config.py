"""Settings of the text service."""

from typing import Literal

from pydantic import Field, field_validator

from sensorium.rpc import CommaSeparated, Port
from services.generation.settings import ChatSettings


class TextSettings(ChatSettings):
    """Serves one text model over gRPC."""

    port: Port = Field(50051, description="Port for gRPC; 0 chooses a free one.")
    metrics_port: Port = Field(9051, description="Port for /metrics, /livez and /readyz; 0 chooses a free one.")
    task: Literal["auto", "generate", "embed", "classify", "classify-tokens", "answer-question", "fill-mask"] = Field(
        "auto", description="Task to serve; auto is the one that the checkpoint was trained for."
    )
    tensor_parallel: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs of this machine for tensor parallelism of a generative model, by the model's own plan.",
    )
    max_batch_tokens: int = Field(16_384, ge=1, description="Tokens of a batch, padding included, for encoder models.")
    adapters: CommaSeparated = Field(
        (),
        description="LoRA adapters that requests may name instead of the model: NAME=PATH, separated by commas, with "
        "PATH as for --adapter. They are not merged into the weights.",
    )

    @field_validator("adapters")
    @classmethod
    def _places(cls, adapters: tuple[str, ...]) -> tuple[str, ...]:
        names: set[str] = set()
        for adapter in adapters:
            name, _, place = adapter.partition("=")
            if not (name and place):
                raise ValueError(f"{adapter!r} is not NAME=PATH")
            if name in names:
                raise ValueError(f"two adapters are called {name}")
            names.add(name)
        return adapters

    @property
    def adapter_places(self) -> dict[str, str]:
        """The path of each adapter, by its name."""
        return {name: place for name, _, place in (adapter.partition("=") for adapter in self.adapters)}
