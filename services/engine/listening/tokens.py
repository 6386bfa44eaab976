"""Control tokens of a Whisper-like model: languages, tasks, timestamps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from services.engine.checkpoint import ModelRefused
from services.engine.generation.sampling.timestamps import TimestampRule
from services.engine.model_rules import token_ids

FOLLOWED = frozenset(
    {"alignment_heads", "forced_decoder_ids", "is_multilingual", "lang_to_id", "language",
     "max_initial_timestamp_index", "no_timestamps_token_id", "prev_sot_token_id", "return_timestamps", "task_to_id"}
)  # fmt: skip
"""Fields of the generation configuration that are applied here, beside those of all models."""
TRANSCRIBE, TRANSLATE = "transcribe", "translate"


@dataclass(frozen=True)
class ListeningTokens:
    """Ids of control tokens, and the alignment heads."""

    start: int
    """Start of transcript."""
    previous: int | None
    """Start of the previous text; None if the model takes none."""
    times: TimestampRule
    no_speech: int
    """No speech."""
    languages: Mapping[str, int] = field(default_factory=dict[str, int])
    """Language tokens by the model's codes; empty for a model of one language."""
    own_language: str = ""
    """Code of the language that a checkpoint was fine-tuned for; empty to detect it."""
    tasks: Mapping[str, int] = field(default_factory=dict[str, int])
    forced: tuple[int, ...] = ()
    """What follows the start of transcript in files that name neither languages nor tasks."""
    alignment_heads: tuple[tuple[int, int], ...] = ()
    """Pairs of a decoder layer and a head; empty if the files name none."""

    special: frozenset[int] = frozenset()
    """All special tokens, except timestamps."""

    def is_special(self, token: int) -> bool:
        """Returns whether a token is not text."""
        return token >= self.times.first_id or token in self.special

    def opening(self, language: str, task: str) -> tuple[int, ...]:
        """Returns the decoder's first tokens; `language` is one of the codes, or empty for a model of one language."""
        if not self.languages and not self.tasks:
            return (self.start, *self.forced)
        named = (self.languages[language],) if language else ()
        return (self.start, *named, *([self.tasks[task]] if task in self.tasks else []))


def listening_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: str) -> ListeningTokens:
    """Reads the tokens from a checkpoint's generation configuration and tokenizer.

    Raises:
        ModelRefused: the configuration names no timestamps, or no first or end token.
    """
    own: Any = model.generation_config
    none_id, ends = getattr(own, "no_timestamps_token_id", None), token_ids(own.eos_token_id)
    if none_id is None or own.decoder_start_token_id is None or not ends:
        raise ModelRefused(
            f"The generation configuration of {source} names no tokens for times (no_timestamps_token_id), or for the "
            "beginning and the end of an output."
        )
    previous: Any = tokenizer.convert_tokens_to_ids("<|startofprev|>")
    known = previous is not None and previous != tokenizer.unk_token_id
    heads = getattr(own, "alignment_heads", None) or []
    languages = {name.strip("<|>"): i for name, i in (getattr(own, "lang_to_id", None) or {}).items()}
    named = (getattr(own, "language", None) or "").strip("<|>").lower()
    forced = _forced(own, model.config)
    if not named and not getattr(own, "task", None) and forced:  # older files name the language by its token
        named = next((code for code, i in languages.items() if i == forced[0]), "")
    return ListeningTokens(
        start=own.decoder_start_token_id,
        previous=getattr(own, "prev_sot_token_id", None) or (previous if known else None),
        times=TimestampRule(none_id + 1, none_id, ends[0], getattr(own, "max_initial_timestamp_index", None)),
        no_speech=none_id - 1,
        languages=languages,
        own_language=next((code for code in (named, TO_LANGUAGE_CODE.get(named)) if code in languages), None) or "",
        tasks=dict(getattr(own, "task_to_id", None) or {}),
        forced=tuple(i for i in forced if i is not None and i != none_id),
        special=frozenset(
            [*tokenizer.all_special_ids, *(i for i, token in tokenizer.added_tokens_decoder.items() if token.special)]
        ),
        alignment_heads=tuple((layer, head) for layer, head in heads),
    )


def _forced(own: Any, config: Any) -> list[int | None]:
    """Returns the tokens that `forced_decoder_ids` puts behind the first one, in order; None leaves a place free.

    As in `generate`, the model's configuration counts where the generation configuration has none.
    """
    forced = getattr(own, "forced_decoder_ids", None)
    places = dict((getattr(config, "forced_decoder_ids", None) if forced is None else forced) or ())
    return [places[place] for place in range(1, len(places) + 1) if place in places]
