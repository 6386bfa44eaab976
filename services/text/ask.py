"""What passes between the servicer and the verb Generate, free of torch and of protobuf."""

from dataclasses import dataclass, field

from sensorium.errors import Violation
from services.engine.generation.resolution import GenerationOptions
from services.engine.generation.stream import GenerationStream
from services.engine.texts import Chat


@dataclass(frozen=True)
class GenerationAsk:
    """One caller's wish, unchecked but for what its conversion found wrong.

    One of the three inputs is set, unless `violations` say why not.
    """

    prompt: str | None = None
    prompt_token_ids: list[int] | None = None
    chat: Chat | None = None
    options: GenerationOptions = field(default_factory=GenerationOptions)
    delivered: list[int] = field(default_factory=list[int])
    return_rendered_prompt: bool = False
    cache_salt: str = ""
    deadline: float | None = None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class Generation:
    """An accepted request."""

    stream: GenerationStream
    prompt_token_count: int
    seed: int
    rendered_prompt: str | None
