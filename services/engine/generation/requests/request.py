"""What enters the generation engine and what leaves it: frozen values, free of protobuf and of torch."""

from dataclasses import dataclass, field
from enum import Enum

from services.engine.generation.running.media import PromptMedia
from services.engine.generation.sampling.timestamps import TimestampRule
from services.engine.structure.structure import Structure


@dataclass(frozen=True)
class OutputRules:
    """What the model's own generation configuration demands of every output, whatever a caller asks for."""

    first_token_id: int | None = None
    """The first token of a sequence that begins with one token, as a translation's language is."""
    last_token_ids: tuple[int, ...] = ()
    """The last token, where the output reaches `max_new_tokens`, is one of these; empty: any."""
    suppressed_token_ids: tuple[int, ...] = ()
    suppressed_first_token_ids: tuple[int, ...] = ()
    """Those that the output does not begin with."""
    source_repetition_penalty: float = 1.0
    """Above 1, tokens of the input become likelier."""
    source_no_repeat_ngram_size: int = 0
    timestamps: TimestampRule | None = None
    """How tokens that stand for times are ordered, where an output holds them."""
    """No run of this many tokens of the input is repeated; 0 allows all."""


@dataclass(frozen=True)
class SamplingParameters:
    """How one token is chosen, with nothing left open. Ranges are those of the contract's GenerationParameters."""

    temperature: float = 0.0
    """0 is greedy; the seed and what truncates a distribution then have no effect."""
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Pairs of a token id and what is added to its logit."""
    bad_words: tuple[tuple[int, ...], ...] = ()
    """Token ids that are never generated in this order."""
    allowed_token_ids: tuple[int, ...] = ()
    """The only ones that may be generated, beside the end of sequence; empty: all."""
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
    """Tokens generated at most, those delivered before a resume included."""
    min_new_tokens: int = 0
    stop_strings: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    end_token_ids: frozenset[int] = frozenset()
    """The model's end-of-sequence ids; empty where the request ignores them."""
    include_stop_string: bool = False
    context_limited: bool = False
    """Whether `max_new_tokens` is what the context leaves, rather than what somebody asked for."""

    @property
    def ending_ids(self) -> frozenset[int]:
        """Ids that end the generation, and that are masked before `min_new_tokens`."""
        return self.stop_token_ids | self.end_token_ids


class EarlyStopping(Enum):
    """When a beam search with enough finished hypotheses ends, by the names of the contract."""

    FIRST = "first"
    """As soon as there are as many as beams: `early_stopping=True` of `generate`."""
    LIKELY = "likely"
    """When the best beam, as it stands, is no better: `early_stopping=False`."""
    NEVER = "never"
    """When no beam can become better: `early_stopping="never"`."""


@dataclass(frozen=True)
class BeamParameters:
    """How beams are searched, with nothing left open."""

    count: int
    length_penalty: float = 1.0
    """Exponent of the length by which a hypothesis's score is divided."""
    early_stopping: EarlyStopping = EarlyStopping.LIKELY


@dataclass(frozen=True)
class PromptLookup:
    """How tokens are proposed by what stands earlier. Results are the same without."""

    most_proposed: int = 16
    """For one step."""
    longest_run: int = 3
    """Latest tokens that are looked for, at most."""


@dataclass
class Work:
    """Time in which the model worked on a request, or on one of several that are answered together."""

    seconds: float = 0.0
    _last: float = -1.0

    def add(self, began: float, seconds: float) -> None:
        """Counts a step that began at `began`, once, however many of its rows were for this."""
        if began != self._last:
            self.seconds += seconds
            self._last = began


@dataclass(frozen=True)
class GenerationRequest:
    """One admitted request: everything resolved and checked."""

    prompt_token_ids: tuple[int, ...]
    """What the output continues: for an encoder-decoder, what its decoder starts with."""
    sampling: SamplingParameters
    stopping: StoppingCriteria
    candidate_count: int = 1
    """Outputs to generate from the prompt; at most as many as beams, if those are searched."""
    beams: BeamParameters | None = None
    delivered: tuple[tuple[int, ...], ...] = ()
    """By candidate: output the caller already holds; generation continues behind it. Candidates beyond have none."""
    skip_special_tokens: bool = True
    logprob_count: int | None = None
    """Likeliest alternatives told with the log-probability of each token; None tells neither."""
    prompt_logprob_count: int | None = None
    """The same for the tokens of the prompt."""
    priority: int = 0
    deadline: float | None = None
    """On the clock of `time.monotonic`."""
    preprocess_seconds: float = 0.0
    cache_salt: str = ""
    """Requests share computed beginnings only with those of the same salt."""
    source_token_ids: tuple[int, ...] = ()
    """What an encoder-decoder's encoder reads; empty for other models."""
    structure: Structure | None = None
    """What the output is held to."""
    media: PromptMedia | None = field(default=None, compare=False)
    """Images and recordings in the prompt."""
    lookup: PromptLookup | None = None
    """How its tokens are proposed, if they are."""
    adapter: str = ""
    """The name of the adapter that it is computed with, if with any."""
    work: Work = field(default_factory=Work, compare=False)

    @property
    def input_token_count(self) -> int:
        """Tokens a caller sent."""
        if self.media is not None:  # a prompt and what is seen besides
            return len(self.source_token_ids) + len(self.prompt_token_ids)
        return len(self.source_token_ids or self.prompt_token_ids)

    @property
    def forced_count(self) -> int:
        """Tokens that the model forces before the text begins."""
        return int(self.sampling.rules.first_token_id is not None and len(self.prompt_token_ids) == 1)

    @property
    def token_count(self) -> int:
        """Tokens that must be computed before the first new one."""
        return len(self.source_token_ids) + len(self.prompt_token_ids) + sum(map(len, self.delivered))

    def delivered_to(self, candidate: int) -> tuple[int, ...]:
        """Returns what the caller already holds of a candidate."""
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
    """Why a generation ended and what matched."""

    reason: FinishReason
    stop_string: str | None = None
    token_id: int | None = None


@dataclass(frozen=True)
class GenerationTimes:
    """Seconds of one request, from its acceptance by the engine; `preprocess` lies before that."""

    queue: float
    preprocess: float
    time_to_first_output: float
    compute: float
    total: float


@dataclass(frozen=True)
class Likelihood:
    """How likely the model found a token, before temperature and whatever else a request asks for."""

    logprob: float
    rank: int
    """1 for the likeliest."""
    likeliest: tuple[tuple[int, float], ...]
    """Pairs of a token id and its log-probability, the best first."""


@dataclass(frozen=True)
class Alternative:
    """A token that could have been generated."""

    token_id: int
    logprob: float
    text: str
    """As decoded alone."""


@dataclass(frozen=True)
class TokenLogprob:
    """A token's log-probability, its rank from 1, and the likeliest tokens in its place, best first."""

    token_id: int
    logprob: float | None
    """None for the first token of a prompt, before which there is nothing."""
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
    """Over all candidates, tokens delivered before a resume included."""
    times: GenerationTimes
    cached_token_count: int = 0
    """Tokens of the input that were in the cache already."""
    image_count: int = 0
    """Images in the prompt."""
    audio_seconds: float | None = None
    """Length of the recordings in the prompt; None if there are none."""
    proposed_token_count: int = 0
    """Tokens proposed for steps, over all candidates."""
    accepted_token_count: int = 0
    """Those that the model chose."""

    @property
    def finish(self) -> Finish:
        """Why the first candidate ended."""
        return self.finishes[0]


Event = PromptLogprobs | Delta | Completed
