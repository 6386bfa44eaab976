"""Turns a text into the model's prompt tokens for Summarize and Translate, truncated if the request allows it."""

from typing import Protocol

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.requests.resolution import GenerationLimits, GenerationOptions, ModelDefaults, pick
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Chat, Truncation
from services.engine.language.translation import Frame

_OUTPUT_TOKENS = 256
"""Tokens reserved for the output if no limit is given; at most a quarter of the context."""


class Reader(Protocol):
    """Tokenizes one text. `frame` is the prefix and special tokens around it; violations name `field`."""

    def read(
        self, text: str, frame: Frame, truncation: Truncation, options: GenerationOptions, /, *, field: str
    ) -> list[int]:
        """Returns the token ids. Without truncation, these may be more than the model can read.

        Raises:
            InvalidArgument: the text cannot be made to fit.
        """
        ...


class EncoderReader:
    """Reader for encoder-decoder models: prefix and text between the special tokens of the frame."""

    def __init__(self, encoder: PromptEncoder, limits: GenerationLimits) -> None:
        self._encoder = encoder
        self._limits = limits

    def read(
        self, text: str, frame: Frame, truncation: Truncation, _options: GenerationOptions, /, *, field: str
    ) -> list[int]:
        """See Reader."""
        kept = kept_characters(text, truncation, max(self._encoder.most_characters - len(frame.prefix), 0))
        ids = self._encoder.encode(frame.prefix + kept, field=field, add_special_tokens=False)
        room = self._limits.source_tokens - len(frame.first_ids) - len(frame.last_ids)
        if truncation is not Truncation.NONE and len(ids) > room:
            lead = self._prefix_count(frame.prefix, ids)
            if lead >= room:
                raise InvalidArgument([Violation("instruction", f"has {lead} tokens and leaves no room for a text")])
            ids = ids[:room] if truncation is Truncation.END else [*ids[:lead], *ids[len(ids) - room + lead :]]
        return [*frame.first_ids, *ids, *frame.last_ids]

    def _prefix_count(self, prefix: str, ids: list[int]) -> int:
        """Returns how many of `ids` belong to the prefix only: its last token may be merged with the text's first."""
        alone = self._encoder.encode(prefix, field="instruction", add_special_tokens=False) if prefix else []
        return next((i for i, (a, b) in enumerate(zip(alone, ids, strict=False)) if a != b), len(alone))


class ChatReader:
    """Reader for chat models: one user turn with the prefix as the instruction and the text below it."""

    def __init__(self, encoder: PromptEncoder, limits: GenerationLimits, defaults: ModelDefaults) -> None:
        self._encoder = encoder
        self._limits = limits
        self._defaults = defaults

    def read(
        self, text: str, frame: Frame, truncation: Truncation, options: GenerationOptions, /, *, field: str
    ) -> list[int]:
        """See Reader."""
        kept = kept_characters(text, truncation, self._encoder.most_characters)
        ids = self._ids(kept, frame, field)
        room = self._context(options) - self._output_tokens(options)
        while truncation is not Truncation.NONE and len(ids) > room and kept:
            kept = self._shorter(kept, len(ids) - room, truncation, field)
            ids = self._ids(kept, frame, field)
        return ids

    def _ids(self, text: str, frame: Frame, field: str) -> list[int]:
        content = f"{frame.prefix}\n\n{text}" if frame.prefix else text
        rendered = self._encoder.render(Chat([{"role": "user", "content": content}], [], False, thinks=False))
        return self._encoder.encode(rendered, field=field, add_special_tokens=False)

    def _shorter(self, text: str, excess: int, truncation: Truncation, field: str) -> str:
        """Returns the text shortened by about `excess` tokens, and by at least one character."""
        # Tokenized as in the turn, where the spelling of a control token is quoted and becomes several tokens.
        ids = self._encoder.encode(self._encoder.quoted(text), field=field, add_special_tokens=False)
        end = truncation is Truncation.END
        fewer = ids[: max(len(ids) - excess, 0)] if end else ids[excess:]
        shorter = self._encoder.decode(fewer, skip_special_tokens=False)
        return shorter if len(shorter) < len(text) else text[:-1] if end else text[1:]

    def _context(self, options: GenerationOptions) -> int:
        """Returns how many tokens the prompt and its output may have."""
        context, own = self._limits.context_tokens, self._defaults
        numbered = pick(options.max_new_tokens, own.max_new_tokens, None) is not None
        return context if numbered else min(context, pick(own.max_length, None, context))

    def _output_tokens(self, options: GenerationOptions) -> int:
        otherwise = min(_OUTPUT_TOKENS, self._context(options) // 4)
        return max(pick(options.max_new_tokens, self._defaults.max_new_tokens, otherwise), 1)


def kept_characters(text: str, truncation: Truncation, most: int) -> str:
    """Truncates a text to `most` characters before it is tokenized: the rest could never fit."""
    if truncation is Truncation.NONE or len(text) <= most:
        return text
    return text[:most] if truncation is Truncation.END else text[len(text) - most :]
