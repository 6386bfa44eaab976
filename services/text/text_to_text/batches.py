"""Turns a request with several texts into one generation request per text."""

import secrets
from collections.abc import Callable
from dataclasses import replace

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.requests.resolution import ModelDefaults
from services.engine.language.translation import Frame
from services.engine.loading import EARLY_STOPPING
from services.generation.ask import GenerationAsk
from services.text.text_to_text.ask import TextsAsk
from services.text.text_to_text.reading import Reader


def generation_asks(
    ask: TextsAsk, batch_items: int, reader: Reader, defaults: ModelDefaults, find_frame: Callable[[], Frame]
) -> list[GenerationAsk]:
    """Returns one generation request per text, all with the same seed. Violations are put into the requests.

    `find_frame` returns the instruction or language tokens around each text; it may raise InvalidArgument.
    """
    wrong, texts, frame = list(ask.violations), ask.texts, Frame()
    if not 1 <= len(texts) <= batch_items:
        wrong.append(Violation("texts", f"must hold 1 to {batch_items} items, not {len(texts)}"))
        texts = []  # tokenizing too many texts would be wasted work
    try:
        frame = find_frame()
    except InvalidArgument as error:
        wrong += error.violations
    options = ask.options
    if options.seed is None and not ask.delivered:
        options = replace(options, seed=secrets.randbits(63))
    common = GenerationAsk(
        options=options,
        delivered=ask.delivered,
        deadline=ask.deadline,
        violations=tuple(wrong),
        defaults=defaults_in(frame, defaults),
    )
    asks = [_read(text, ask, replace(common, field=ask.field_of(i)), reader, frame) for i, text in enumerate(texts)]
    return asks or [common]


def _read(text: str, ask: TextsAsk, common: GenerationAsk, reader: Reader, frame: Frame) -> GenerationAsk:
    """Returns the request for one text."""
    found: tuple[Violation, ...] = ()
    ids: list[int] | None = None
    if not text:
        found = (Violation(common.field, "must not be empty"),)
    else:
        try:
            ids = reader.read(text, frame, ask.truncation, ask.options, field=common.field)
        except InvalidArgument as error:
            found = error.violations
    return replace(common, prompt_token_ids=ids, violations=common.violations + found)


def defaults_in(frame: Frame, defaults: ModelDefaults) -> ModelDefaults:
    """Returns the defaults of generation parameters: those of the frame, and the model's where it has none."""
    own, starts = frame.parameters, defaults.decoder_start_ids
    if frame.decoder_start_id is not None:
        starts = (frame.decoder_start_id,)
    rules = defaults.rules
    if frame.forced_first_id is not None:
        rules = replace(rules, first_token_id=frame.forced_first_id)
    return replace(
        defaults,
        max_new_tokens=None if own.get("max_length") else defaults.max_new_tokens,
        min_new_tokens=None if own.get("min_length") else defaults.min_new_tokens,
        max_length=own.get("max_length") or defaults.max_length,
        min_length=own.get("min_length") or defaults.min_length,
        no_repeat_ngram_size=own.get("no_repeat_ngram_size") or defaults.no_repeat_ngram_size,
        repetition_penalty=own.get("repetition_penalty") or defaults.repetition_penalty,
        beam_count=own.get("num_beams") or defaults.beam_count,
        length_penalty=own.get("length_penalty", defaults.length_penalty),
        early_stopping=EARLY_STOPPING.get(own.get("early_stopping", ""), defaults.early_stopping),
        decoder_start_ids=starts,
        rules=rules,
    )
