"""Text generation in ordinary Python: a prompt in, pieces of text out."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sensorium.client.call import CallOptions
from sensorium.v1.common_pb2 import (
    BeamSearchParameters,
    GenerationCompleted,
    GenerationParameters,
    GenerationStarted,
    PromptLookup,
    StructuredOutput,
)
from sensorium.v1.text_pb2 import StreamGenerateRequest, StreamGenerateResponse

_CALL_FIELDS = frozenset(CallOptions.__annotations__)


class GenerationOptions(CallOptions, total=False):
    """The fields of `GenerationParameters`, which documents them, beside the options of every call."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram_size: int
    logit_bias: Mapping[int, float]
    bad_words: Sequence[str]
    allowed_token_ids: Sequence[int]
    seed: int
    max_new_tokens: int
    min_new_tokens: int
    stop_strings: Sequence[str]
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    include_stop_string: bool
    skip_special_tokens: bool
    beam_search: BeamSearchParameters
    structured_output: StructuredOutput
    prompt_lookup: PromptLookup


def text_request(prompt: str, options: GenerationOptions) -> StreamGenerateRequest:
    """Returns the request to continue `prompt`."""
    return StreamGenerateRequest(prompt=prompt, parameters=generation_parameters(options))


def call_options(options: GenerationOptions) -> CallOptions:
    """Returns what `options` say about the call."""
    chosen = {name: value for name, value in options.items() if name in _CALL_FIELDS}
    return cast(CallOptions, chosen)


def generation_parameters(options: GenerationOptions) -> GenerationParameters:
    """Returns what `options` say about the generation."""
    fields: dict[str, Any] = {name: value for name, value in options.items() if name not in _CALL_FIELDS}
    return GenerationParameters(**fields)


class Transcript:
    """What a stream of generated text told beside the text. Each is None until it arrived."""

    def __init__(self) -> None:
        self.started: GenerationStarted | None = None
        self.completed: GenerationCompleted | None = None

    def note(self, event: StreamGenerateResponse) -> None:
        """Takes note of what `event` tells beside the text."""
        match event.WhichOneof("event"):
            case "started":
                self.started = event.started
            case "completed":
                self.completed = event.completed
            case _:
                pass

    def text_of(self, event: StreamGenerateResponse) -> str:
        """Takes note of `event` and returns the text it brought, which may be empty."""
        self.note(event)
        return event.delta.text
