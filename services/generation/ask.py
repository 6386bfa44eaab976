"""The requests and results of verbs that generate, as plain values, free of torch and protobuf."""

from dataclasses import dataclass, field
from typing import Protocol

from sensorium.errors import Violation
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Finish, PromptLogprobs, TokenLogprob, Work
from services.engine.generation.requests.resolution import DeliveredTokens, GenerationOptions, ModelDefaults
from services.engine.generation.running.media import PromptMedia
from services.engine.language.responses.message import MessagePart
from services.engine.language.texts import Chat, are_short
from services.engine.multimodal.kind import MediaKind
from services.sent_media import SentMedia

_FEW = 1024
"""So many token ids are checked in a tenth of a millisecond."""


@dataclass(frozen=True)
class ShownMedium:
    """An image or a recording of a conversation, as it was sent."""

    kind: MediaKind
    sent: SentMedia
    field: str
    """Its name in violations."""


@dataclass(frozen=True)
class GenerationAsk:
    """A request, not validated yet; `violations` hold what its conversion found wrong.

    One of `prompt`, `prompt_token_ids` and `chat` is set, unless `violations` say why not.
    """

    prompt: str | None = None
    prompt_token_ids: list[int] | None = None
    chat: Chat | None = None
    options: GenerationOptions = field(default_factory=GenerationOptions)
    delivered: tuple[DeliveredTokens, ...] = ()
    return_rendered_prompt: bool = False
    cache_salt: str = ""
    deadline: float | None = None
    """By `time.monotonic`."""
    violations: tuple[Violation, ...] = ()
    field: str = "prompt_token_ids.ids"
    """The name of the token ids in violations."""
    parsed: str = ""
    """The name of the field that asks for the answer as a message too; empty: none does."""
    media: tuple[ShownMedium, ...] = ()
    """The media of the conversation, in its order."""
    heard: PromptMedia | None = None
    """Recordings among the prompt's token ids, or an encoder's input where the prompt is no text."""
    defaults: ModelDefaults | None = None
    """The defaults of options, if other than those of Generate."""
    work: Work | None = None
    """Counts the model's time together with that of other parts of the same request; None: by itself."""

    @property
    def is_light(self) -> bool:
        """Whether preparing it takes less time than waking a thread, given a fast tokenizer (ADR 50)."""
        options = self.options
        listed = (options.logit_bias, options.bad_words, options.allowed_token_ids, options.stop_strings)
        if any(listed) or self.delivered or options.structured_output or len(options.stop_token_ids) > _FEW:
            return False
        if self.prompt is not None:
            return are_short(self.prompt)
        return self.prompt_token_ids is not None and len(self.prompt_token_ids) <= _FEW


class ParsedAnswer(Protocol):
    """Turns the text of one candidate, with its special tokens, into parts of a message."""

    def push(self, text: str) -> MessagePart:
        """Returns what the text that follows adds to the message."""
        ...

    def close(self, finish: Finish) -> MessagePart:
        """Returns what the end adds. The token that ended it may be a mark of the format; the text is without it."""
        ...


@dataclass(frozen=True)
class Generation:
    """An accepted request."""

    stream: GenerationStream
    prompt_token_count: int
    seed: int
    rendered_prompt: str | None
    scores_prompt: bool = False
    """Whether the prompt's log-probabilities were asked for."""
    parsed: tuple[ParsedAnswer, ...] = ()
    """The message of each candidate; empty if they were not asked for."""

    async def prompt_logprobs(self) -> tuple[TokenLogprob, ...]:
        """Waits for the prompt's log-probabilities and returns them; empty at once if they were not asked for.

        To be called once, before the stream is read. Raises the error that ends the stream before them.
        """
        if not self.scores_prompt:
            return ()
        event = await anext(self.stream)
        assert isinstance(event, PromptLogprobs)
        return event.entries
