"""The requests of the generation engine and the events of its streams: frozen values, free of protobuf and torch."""

from dataclasses import dataclass, field
from enum import Enum

from services.engine.generation.running.media import PromptMedia
from services.engine.generation.sampling.timestamps import TimestampRule
from services.engine.structure.structure import Structure


@dataclass(frozen=True)
class OutputRules:
    """Rules of the model's generation configuration, which hold for every output whatever a caller asks for."""

    first_token_id: int | None = None
    """The forced first token of the output, such as a translation's language."""
    last_token_ids: tuple[int, ...] = ()
    """If the output reaches `max_new_tokens`, its last token is one of these; empty: any."""
    suppressed_token_ids: tuple[int, ...] = ()
    suppressed_first_token_ids: tuple[int, ...] = ()
    """Tokens that the output must not begin with."""
    source_repetition_penalty: float = 1.0
    """Above 1, tokens of the encoder's input become likelier."""
    source_no_repeat_ngram_size: int = 0
    """No run of this many tokens of the input is repeated; 0 allows all."""
    timestamps: TimestampRule | None = None
    """The order of timestamp tokens, where the model writes them."""


@dataclass(frozen=True)
class SamplingParameters:
    """The resolved parameters of sampling. Ranges are those of the contract's GenerationParameters."""

    temperature: float = 0.0
    """0 is greedy; the seed and truncation (top-k, top-p and the like) then have no effect."""
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Pairs of a token id and the number added to its logit."""
    bad_words: tuple[tuple[int, ...], ...] = ()
    """Sequences of token ids that are never generated."""
    allowed_token_ids: tuple[int, ...] = ()
    """The only tokens that may be generated, besides the end of sequence; empty: all."""
    seed: int = 0
    rules: OutputRules = OutputRules()

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature == 0.0


@dataclass(frozen=True)
class StoppingCriteria:
    """When one generation ends."""

    max_new_tokens: int
    """The most tokens generated, including those delivered before a resume."""
    min_new_tokens: int = 0
    stop_strings: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    end_token_ids: frozenset[int] = frozenset()
    """The model's end-of-sequence ids; empty where the request ignores them."""
    include_stop_string: bool = False
    context_limited: bool = False
    """Whether `max_new_tokens` is set by the context length, rather than by the caller or the model."""

    @property
    def ending_ids(self) -> frozenset[int]:
        """Ids that end the generation, and are masked until `min_new_tokens` tokens are generated."""
        return self.stop_token_ids | self.end_token_ids


class EarlyStopping(Enum):
    """When a beam search with enough finished hypotheses ends. Values are the contract's names."""

    FIRST = "first"
    """As soon as there are as many as beams: `early_stopping=True` of `generate`."""
    LIKELY = "likely"
    """When the best beam's current score is no better: `early_stopping=False`."""
    NEVER = "never"
    """When no beam can become better: `early_stopping="never"`."""


@dataclass(frozen=True)
class BeamParameters:
    """The resolved parameters of a beam search."""

    count: int
    length_penalty: float = 1.0
    """Exponent of the length by which a hypothesis's score is divided."""
    early_stopping: EarlyStopping = EarlyStopping.LIKELY


@dataclass(frozen=True)
class PromptLookup:
    """Parameters of prompt lookup, which proposes tokens from earlier text. It does not change results."""

    most_proposed: int = 16
    """The most tokens proposed for one step."""
    longest_run: int = 3
    """The most latest tokens that are searched for in the earlier text."""


@dataclass
class Work:
    """The model's time on a request, or on several requests that are answered together."""

    seconds: float = 0.0
    _last: float = -1.0

    def add(self, began: float, seconds: float) -> None:
        """Counts a step that began at `began`, once, however many of its rows belong to this."""
        if began != self._last:
            self.seconds += seconds
            self._last = began


@dataclass(frozen=True)
class GenerationRequest:
    """A request to the engine: everything is resolved and checked."""

    prompt_token_ids: tuple[int, ...]
    """The tokens that the output continues; for an encoder-decoder, the decoder's start tokens."""
    sampling: SamplingParameters
    stopping: StoppingCriteria
    candidate_count: int = 1
    """How many outputs to generate; in a beam search at most as many as beams."""
    beams: BeamParameters | None = None
    delivered: tuple[tuple[int, ...], ...] = ()
    """For each candidate the tokens that the caller already holds, after which it continues; missing ones have none."""
    skip_special_tokens: bool = True
    logprob_count: int | None = None
    """How many of the likeliest tokens to report beside each token's log-probability; None: no log-probabilities."""
    prompt_logprob_count: int | None = None
    """The same for the tokens of the prompt."""
    priority: int = 0
    deadline: float | None = None
    """On the clock of `time.monotonic`."""
    preprocess_seconds: float = 0.0
    cache_salt: str = ""
    """Requests share cached prefixes only with requests of the same salt."""
    source_token_ids: tuple[int, ...] = ()
    """The input of the encoder; empty where there is none."""
    structure: Structure | None = None
    """The structure of the output, such as a JSON schema."""
    media: PromptMedia | None = field(default=None, compare=False)
    """Images and recordings in the prompt."""
    lookup: PromptLookup | None = None
    """How tokens are proposed; None: none are."""
    adapter: str = ""
    """The name of its adapter; empty: none."""
    work: Work = field(default_factory=Work, compare=False)

    @property
    def input_token_count(self) -> int:
        """How many tokens the caller sent."""
        if self.media is not None:  # a prompt and what is seen besides
            return len(self.source_token_ids) + len(self.prompt_token_ids)
        return len(self.source_token_ids or self.prompt_token_ids)

    @property
    def forced_count(self) -> int:
        """How many tokens the model forces before the text begins."""
        return int(self.sampling.rules.first_token_id is not None and len(self.prompt_token_ids) == 1)

    @property
    def token_count(self) -> int:
        """How many tokens must be computed before the first new one."""
        return len(self.source_token_ids) + len(self.prompt_token_ids) + sum(map(len, self.delivered))

    def delivered_to(self, candidate: int) -> tuple[int, ...]:
        """Returns the tokens of a candidate that the caller already holds."""
        return self.delivered[candidate] if candidate < len(self.delivered) else ()


class FinishReason(Enum):
    """Why a generation ended."""

    END_OF_SEQUENCE = "end_of_sequence"
    STOP_STRING = "stop_string"
    STOP_TOKEN = "stop_token"  # noqa: S105 - a token of a vocabulary
    MAX_NEW_TOKENS = "max_new_tokens"
    CONTEXT_LENGTH = "context_length"
    STRUCTURE_COMPLETE = "structure_complete"


@dataclass(frozen=True)
class Finish:
    """Why a generation ended, and which stop string or token matched."""

    reason: FinishReason
    stop_string: str | None = None
    token_id: int | None = None


@dataclass(frozen=True)
class GenerationTimes:
    """Seconds of one request since the engine accepted it; `preprocess` comes before that."""

    queue: float
    preprocess: float
    time_to_first_output: float
    compute: float
    total: float


@dataclass(frozen=True)
class Likelihood:
    """The model's probability of a token, before temperature and all other parameters of the request."""

    logprob: float
    rank: int
    """1 for the likeliest."""
    likeliest: tuple[tuple[int, float], ...]
    """Pairs of a token id and its log-probability, the likeliest first."""


@dataclass(frozen=True)
class Alternative:
    """A token that could have been generated."""

    token_id: int
    logprob: float
    text: str
    """The token decoded by itself."""


@dataclass(frozen=True)
class TokenLogprob:
    """A token's log-probability, its rank from 1, and the likeliest tokens in its place, best first."""

    token_id: int
    logprob: float | None
    """None for the first token of a prompt, which nothing predicts."""
    rank: int
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class PromptLogprobs:
    """The log-probabilities of the prompt: one entry for each of its tokens. Comes before all deltas."""

    entries: tuple[TokenLogprob, ...]


@dataclass(frozen=True)
class Delta:
    """New text in whole characters and the token ids behind it."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    """One for each token id, or none at all."""
    candidate_index: int = 0

    def __add__(self, later: "Delta") -> "Delta":
        """Joins two deltas of one candidate."""
        return Delta(
            self.text + later.text,
            self.token_ids + later.token_ids,
            self.logprobs + later.logprobs,
            self.candidate_index,
        )


@dataclass(frozen=True)
class Completed:
    """The end of a stream that went well."""

    finishes: tuple[Finish, ...]
    """One for each candidate, by index."""
    input_token_count: int
    output_token_count: int
    """Over all candidates, including tokens delivered before a resume."""
    times: GenerationTimes
    cached_token_count: int = 0
    """Tokens of the input that were found in the prefix cache."""
    image_count: int = 0
    """Images in the prompt."""
    audio_seconds: float | None = None
    """Length of the recordings in the prompt; None if there are none."""
    proposed_token_count: int = 0
    """Proposed tokens, over all candidates."""
    accepted_token_count: int = 0
    """Proposed tokens that the model accepted."""

    @property
    def finish(self) -> Finish:
        """Why the first candidate ended."""
        return self.finishes[0]


Event = PromptLogprobs | Delta | Completed
