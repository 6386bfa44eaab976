"""Converts generation parameters of requests to plain values."""

from collections.abc import Callable, Iterable
from typing import Any

from sensorium.v1 import common_pb2 as common
from services.engine.generation.requests.request import EarlyStopping, PromptLookup
from services.engine.generation.requests.resolution import BeamOptions, DeliveredTokens, GenerationOptions
from services.generation.structure_conversion import structure_format

_EARLY_STOPPING = {
    common.BeamSearchParameters.EARLY_STOPPING_FIRST: EarlyStopping.FIRST,
    common.BeamSearchParameters.EARLY_STOPPING_LIKELY: EarlyStopping.LIKELY,
    common.BeamSearchParameters.EARLY_STOPPING_NEVER: EarlyStopping.NEVER,
}


def delivered_tokens(delivered: Iterable[common.DeliveredTokens]) -> tuple[DeliveredTokens, ...]:
    """Returns the tokens that a caller already holds, as plain values."""
    return tuple(DeliveredTokens(one.candidate_index, list(one.token_ids)) for one in delivered)


def generation_options(parameters: common.GenerationParameters, priority: int = 0) -> GenerationOptions:
    """Returns the parameters as plain values."""
    given: Callable[[str], Any] = {field.name: value for field, value in parameters.ListFields()}.get
    return GenerationOptions(
        temperature=given("temperature"),
        top_k=given("top_k"),
        top_p=given("top_p"),
        min_p=given("min_p"),
        typical_p=given("typical_p"),
        repetition_penalty=given("repetition_penalty"),
        presence_penalty=given("presence_penalty"),
        frequency_penalty=given("frequency_penalty"),
        no_repeat_ngram_size=given("no_repeat_ngram_size"),
        logit_bias=tuple(sorted(parameters.logit_bias.items())),
        bad_words=tuple(parameters.bad_words),
        allowed_token_ids=tuple(parameters.allowed_token_ids),
        seed=given("seed"),
        max_new_tokens=given("max_new_tokens"),
        min_new_tokens=given("min_new_tokens"),
        stop_strings=tuple(parameters.stop_strings),
        stop_token_ids=tuple(parameters.stop_token_ids),
        ignore_eos=bool(given("ignore_eos")),
        include_stop_string=bool(given("include_stop_string")),
        skip_special_tokens=given("skip_special_tokens") is not False,
        logprob_count=given("logprob_count"),
        prompt_logprob_count=given("prompt_logprob_count"),
        candidate_count=given("candidate_count"),
        beams=_beams(parameters.beam_search) if parameters.HasField("beam_search") else None,
        structured_output=structure_format(parameters),
        lookup=_lookup(parameters.prompt_lookup) if parameters.HasField("prompt_lookup") else None,
        priority=priority,
    )


def _beams(message: common.BeamSearchParameters) -> BeamOptions:
    return BeamOptions(
        message.beam_count,
        message.length_penalty if message.HasField("length_penalty") else None,
        _EARLY_STOPPING.get(message.early_stopping),
    )


def _lookup(message: common.PromptLookup) -> PromptLookup:
    own = PromptLookup()
    return PromptLookup(
        message.max_proposed_token_count if message.HasField("max_proposed_token_count") else own.most_proposed,
        message.max_matched_token_count if message.HasField("max_matched_token_count") else own.longest_run,
    )
