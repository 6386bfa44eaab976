"""What passes between the servicer and a verb that generates, free of torch and of protobuf."""

from dataclasses import dataclass, field

from sensorium.errors import Violation
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import PromptLogprobs, TokenLogprob, Work
from services.engine.generation.requests.resolution import DeliveredTokens, GenerationOptions, ModelDefaults
from services.engine.generation.running.media import PromptMedia
from services.engine.language.texts import Chat, are_short
from services.engine.multimodal.kind import MediaKind
from services.sent_media import SentMedia

_FEW = 1024
"""Token ids, which are checked in a tenth of a millisecond."""


@dataclass(frozen=True)
class ShownMedium:
    """An image or a recording of a conversation, as it was sent."""

    kind: MediaKind
    sent: SentMedia
    field: str
    """What it is called in violations."""


@dataclass(frozen=True)
class GenerationAsk:
    """One caller's wish, unchecked but for what its conversion found wrong.

    One of the three inputs is set, unless `violations` say why not.
    """

    prompt: str | None = None
    prompt_token_ids: list[int] | None = None
    chat: Chat | None = None
    options: GenerationOptions = field(default_factory=GenerationOptions)
    delivered: tuple[DeliveredTokens, ...] = ()
    return_rendered_prompt: bool = False
    cache_salt: str = ""
    deadline: float | None = None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...] = ()
    field: str = "prompt_token_ids.ids"
    """What the token ids are called in violations."""
    media: tuple[ShownMedium, ...] = ()
    """Those of the conversation, in its order."""
    heard: PromptMedia | None = None
    """Recordings in the prompt's token ids, or what an encoder reads in the place of a prompt that is no text."""
    defaults: ModelDefaults | None = None
    """What holds where the options are silent, if not what holds for Generate."""
    work: Work | None = None
    """Where the model's time is counted, if with that of other wishes of the same caller."""

    @property
    def is_light(self) -> bool:
        """Whether a fast tokenizer leaves so little to prepare that a thread would take longer to wake (ADR 50)."""
        options = self.options
        listed = (options.logit_bias, options.bad_words, options.allowed_token_ids, options.stop_strings)
        if any(listed) or self.delivered or options.structured_output or len(options.stop_token_ids) > _FEW:
            return False
        if self.prompt is not None:
            return are_short(self.prompt)
        return self.prompt_token_ids is not None and len(self.prompt_token_ids) <= _FEW


@dataclass(frozen=True)
class Generation:
    """An accepted request."""

    stream: GenerationStream
    prompt_token_count: int
    seed: int
    rendered_prompt: str | None
    scores_prompt: bool = False
    """Whether the prompt's log-probabilities were asked for."""

    async def prompt_logprobs(self) -> tuple[TokenLogprob, ...]:
        """Waits for the prompt's log-probabilities and returns them; nothing at once if they were not asked for.

        To be called once, before the stream is read. Raises the error that ends the stream before them.
        """
        if not self.scores_prompt:
            return ()
        event = await anext(self.stream)
        assert isinstance(event, PromptLogprobs)
        return event.entries
